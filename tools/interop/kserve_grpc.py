"""Calls the echo model by the unmodified tritonclient over gRPC: python kserve_grpc.py HOST:PORT

Exits with an error if a value differs or a wrong request is not refused.
"""

import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2
from tritonclient.utils import InferenceServerException, np_to_triton_dtype, triton_to_np_dtype

DATATYPES = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"]
SHAPES = [(), (0,), (1,), (7,), (2, 3), (3, 0, 2), (300, 1000)]


def tensor(array, name="input"):
    made = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array)
    return made


def check_echoes(client):
    rng = np.random.default_rng(1)
    for datatype in DATATYPES:
        for number, shape in enumerate(SHAPES):
            dtype = np.dtype(triton_to_np_dtype(datatype))
            count = int(np.prod(shape, dtype=int))
            bits = rng.integers(0, 2 if datatype == "BOOL" else 256, count * dtype.itemsize, "u1")
            array = np.frombuffer(bits.tobytes(), dtype).reshape(shape)
            outputs = [triton.InferRequestedOutput("output")] if number % 2 else None
            result = client.infer("echo", [tensor(array)], request_id=f"{datatype} {number}", outputs=outputs)
            reply = result.get_response()
            assert (reply.id, reply.model_name) == (f"{datatype} {number}", "echo"), reply.id
            back = result.as_numpy("output")
            assert (back.dtype, back.shape) == (array.dtype, array.shape), (back.dtype, back.shape)
            assert back.tobytes() == array.tobytes(), f"{datatype} {shape} came back changed"


def check_questions(client):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("echo") and client.is_model_ready("echo", "1")
    metadata = client.get_model_metadata("echo")
    assert (metadata.name, list(metadata.versions)) == ("echo", ["1"]), metadata
    assert [(each.name, list(each.shape)) for each in metadata.inputs] == [("input", [-1])], metadata
    assert [each.name for each in metadata.outputs] == ["output"], metadata


def refused(call, code, text):
    try:
        call()
    except InferenceServerException as error:
        assert code in str(error.status()) and text in error.message(), (error.status(), error.message())
        return
    raise AssertionError(f"accepted, expected: {text}")


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
        check_refusals(client)
        check_echoes(client)
    print(f"tritonclient: {len(DATATYPES)} datatypes in {len(SHAPES)} shapes came back, wrong requests were refused")


if __name__ == "__main__":
    main()
