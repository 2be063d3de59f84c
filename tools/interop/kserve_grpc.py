"""Calls the echo model by the unmodified tritonclient over gRPC: python kserve_grpc.py HOST:PORT

Exits with an error if a value differs or a wrong request is not refused.
"""

import sys

import numpy as np
import tritonclient.grpc as triton
from kserve_cases import arrays, check_same, finish, refused
from tritonclient.grpc import service_pb2
from tritonclient.utils import np_to_triton_dtype


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
        check_refusals(client)
        check_echoes(client)
    finish()


if __name__ == "__main__":
    main()
