"""Calls the echo model by the unmodified tritonclient over HTTP: python kserve_http.py HOST:PORT

Exits with an error if a value differs or a wrong request is not refused.
"""

import sys

import numpy as np
import tritonclient.http as triton
from kserve_cases import arrays, check_same, finish, refused
from tritonclient.utils import np_to_triton_dtype


def tensor(array, name="input", binary=True):
    made = triton.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
    made.set_data_from_numpy(array, binary_data=binary)
    return made


def check_echoes(client):
    for number, (name, array) in enumerate(arrays()):
        outputs = [triton.InferRequestedOutput("output")] if number % 2 else None
        result = client.infer("echo", [tensor(array)], request_id=f"\u00e9 {name}", outputs=outputs)
        reply = result.get_response()
        assert (reply["id"], reply["model_name"], reply["model_version"]) == (f"\u00e9 {name}", "echo", "1"), reply
        check_same(name, array, result.as_numpy("output"))


def check_questions(client):
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("echo")
    metadata = client.get_model_metadata("echo")
    assert (metadata["name"], metadata["versions"]) == ("echo", ["1"]), metadata
    assert [(each["name"], each["shape"]) for each in metadata["inputs"]] == [("input", [-1])], metadata
    assert [each["name"] for each in metadata["outputs"]] == ["output"], metadata


def check_refusals(client):
    array = np.arange(6, dtype="f4").reshape(2, 3)
    for inputs, text in [
        ([], "expected one"),
        ([tensor(array), tensor(array)], "expected one"),
        ([tensor(array, "other")], 'expected "input"'),
        ([tensor(array, binary=False)], "cannot carry a tensor as data"),
        ([tensor(np.array([b"text"], object))], "BYTES"),
    ]:
        refused(lambda: client.infer("echo", inputs), "400", text)
    for name, binary, text in [("other", True, 'expected "output"'), ("output", False, "binary_data_output")]:
        outputs = [triton.InferRequestedOutput(name, binary_data=binary)]
        refused(lambda: client.infer("echo", [tensor(array)], outputs=outputs), "400", text)
    for shape, text in [([2, 2], "need 16 bytes of data, got 24"), ([-2, -3], "kserve_http")]:
        wrong = tensor(array)
        wrong.set_shape(shape)
        refused(lambda: client.infer("echo", [wrong]), "400", text)
    for size, text in [(20, "20, but 24 bytes follow"), (28, "28, but 24 bytes follow")]:
        wrong = tensor(array)
        wrong._parameters["binary_data_size"] = size
        refused(lambda: client.infer("echo", [wrong]), "400", text)
    # A refusal of the path is plain text, which the client repeats.
    refused(lambda: client.infer("other", [tensor(array)]), "404", "no such path")
    assert not client.is_model_ready("other")


def main():
    with triton.InferenceServerClient(sys.argv[1]) as client:
        check_questions(client)
        check_echoes(client)
        check_refusals(client)
        check_echoes(client)
    finish()


if __name__ == "__main__":
    main()
