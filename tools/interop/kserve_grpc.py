"""Calls the echo model by the unmodified tritonclient over gRPC: python kserve_grpc.py HOST:PORT

The client sends raw contents. Typed contents are sent by its protobuf classes and its stub.

Exits with an error if a value differs or a wrong request is not refused.
"""

import sys

import grpc
import numpy as np
import tritonclient.grpc as triton
from kserve_cases import LISTS, arrays, check_same, finish, refused
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype, triton_to_np_dtype


def tensor(array, name="input"):
    made = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    return made


def check_echoes(client):
    for number, (name, array) in enumerate(arrays()):
        outputs = [triton.InferRequestedOutput("output")] if number % 2 else None
        result = client.infer("echo", [tensor(array)], request_id=name, outputs=outputs)
        reply = result.get_response()
        assert (reply.id, reply.model_name) == (name, "echo"), reply.id
        check_same(name, array, result.as_numpy("output"))


def typed_request(datatype, shape, **lists):
    request = service_pb2.ModelInferRequest(model_name="echo", id="7")
    made = request.inputs.add(name="input", datatype=datatype, shape=shape)
    made.contents.CopyFrom(service_pb2.InferTensorContents(**lists))
    return request


def check_typed_echoes(client):
    """Checks that typed contents come back as such, number by number."""
    echoes = 0
    for name, array in arrays():
        datatype = np_to_triton_dtype(array.dtype)
        if datatype not in LISTS:
            continue
        # A float of Python has no signalling NaN of 32 bits.
        array = np.nan_to_num(array) if array.dtype.kind == "f" else array
        numbers = array.ravel().tolist()
        reply = client._client_stub.ModelInfer(typed_request(datatype, array.shape, **{LISTS[datatype]: numbers}))
        [output] = reply.outputs
        assert (reply.id, output.name, output.datatype) == ("7", "output", datatype), reply
        assert not reply.raw_output_contents and tuple(output.shape) == array.shape, name
        want = service_pb2.InferTensorContents(**{LISTS[datatype]: numbers})
        assert output.contents == want, name
        back = np.array(getattr(output.contents, LISTS[datatype]), triton_to_np_dtype(datatype)).reshape(array.shape)
        check_same(name, array, back)
        echoes += 1
    assert echoes == 77, echoes


def check_typed_refusals(client):
    def refuses(request, text):
        try:
            client._client_stub.ModelInfer(request)
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.INVALID_ARGUMENT and text in error.details(), error
            return
        raise AssertionError(f"accepted, expected: {text}")

    refuses(typed_request("FP16", [1], fp32_contents=[1.0]), "protobuf has no such number")
    refuses(typed_request("FP32", [1], fp64_contents=[1.0]), "expected fp32_contents")
    refuses(typed_request("INT32", [2], int_contents=[1], uint_contents=[2]), "more than one list")
    refuses(typed_request("INT8", [1], int_contents=[128]), "out of range")
    refuses(typed_request("UINT16", [1], uint_contents=[65536]), "out of range")
    refuses(typed_request("FP64", [3], fp64_contents=[1.0, 2.0]), "need 24 bytes of data, got 16")
    refuses(typed_request("BYTES", [1], fp32_contents=[1.0]), "BYTES")
    refuses(typed_request("FP32", [1], bytes_contents=[b"text"]), "texts in bytes_contents")
    both = typed_request("FP32", [1], fp32_contents=[1.0])
    both.raw_input_contents.append(b"\0\0\0\0")
    refuses(both, "typed contents")
    neither = typed_request("FP32", [1])
    neither.inputs[0].ClearField("contents")
    refuses(neither, "expected typed contents or raw_input_contents")


def check_questions(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("echo") and client.is_model_ready("echo", "1")
    metadata = client.get_model_metadata("echo")
    assert (metadata.name, list(metadata.versions)) == ("echo", ["1"]), metadata
    assert [(each.name, list(each.shape)) for each in metadata.inputs] == [("input", [-1])], metadata
    assert [each.name for each in metadata.outputs] == ["output"], metadata


def check_refusals(client):
    array = np.arange(6, dtype="f4").reshape(2, 3)
    invalid = "INVALID_ARGUMENT"
    for inputs, text in [
        ([], "expected one, got"),
        ([tensor(array), tensor(array)], "expected one"),
        ([tensor(array, "other")], 'expected "input"'),
    ]:
        refused(lambda: client.infer("echo", inputs), invalid, text)
    refused(lambda: client.infer("other", [tensor(array)]), invalid, 'expected "echo"')
    refused(lambda: client.infer("echo", [tensor(array)], "2"), invalid, 'expected "1"')
    outputs = [triton.InferRequestedOutput("other")]
    refused(lambda: client.infer("echo", [tensor(array)], outputs=outputs), invalid, 'expected "output"')
    text = tensor(np.array([b"text"], object))
    refused(lambda: client.infer("echo", [text]), invalid, "BYTES")
    for shape, text in [([2, 2], "need 16 bytes of data, got 24"), ([-2, -3], "a negative dimension")]:
        wrong = tensor(array)
        wrong._get_tensor().ClearField("shape")
        wrong._get_tensor().shape.extend(shape)
        refused(lambda: client.infer("echo", [wrong]), invalid, text)
    wrong = tensor(array)
    wrong._get_tensor().contents.CopyFrom(service_pb2.InferTensorContents(fp32_contents=[1.0] * 6))
    refused(lambda: client.infer("echo", [wrong]), invalid, "typed contents")
    refused(lambda: client.is_model_ready("other"), "NOT_FOUND", "no model")
    refused(lambda: client.get_model_metadata("echo", "2"), "NOT_FOUND", "no model")


def main():
    with triton.InferenceServerClient(sys.argv[1]) as client:
        check_questions(client)
        check_echoes(client)
        check_typed_echoes(client)
        check_refusals(client)
        check_typed_refusals(client)
        check_echoes(client)
    finish()


if __name__ == "__main__":
    main()
