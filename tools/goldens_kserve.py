#!/usr/bin/env python3
"""Makes tests/data/kserve.jsonl and kserve_http.jsonl: arrays as requests of tritonclient over gRPC and HTTP, with the
replies of an echo model.

    python3 -m venv DIR && DIR/bin/pip install -r tools/interop/requirements-kserve.txt
    DIR/bin/python tools/goldens_kserve.py

They have the form of the files of tools/goldens.py, and are made apart because tritonclient needs an older protobuf.
`reply` is the reply to `body`: over gRPC by the client's own protobuf classes, over HTTP as Triton writes it, read by the
client.
"""

import json

import numpy as np
import tritonclient.grpc as client
import tritonclient.http as http_client
from tritonclient.grpc import service_pb2
from tritonclient.grpc._utils import _get_inference_request
from tritonclient.http._utils import _get_inference_request as get_http_request

from golden_arrays import DATA, arrays, line
from tritonclient.utils import np_to_triton_dtype


def request(array, request_id="", outputs=None, version=""):
    tensor = client.InferInput("input", list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    return _get_inference_request(
        model_name="echo", inputs=[tensor], model_version=version, request_id=request_id, outputs=outputs,
        sequence_id=0, sequence_start=False, sequence_end=False, priority=0, timeout=None, parameters=None,
    )


def reply(array, request_id=""):
    message = service_pb2.ModelInferResponse(model_name="echo", model_version="1", id=request_id)
    message.outputs.add(name="output", datatype=np_to_triton_dtype(array.dtype), shape=array.shape)
    message.raw_output_contents.append(array.tobytes())
    return message


def entry(array, sent, request_id="", **options):
    body, answer = [message.SerializeToString(deterministic=True).hex() for message in [sent, reply(array, request_id)]]
    return line(array, body=body, reply=answer, **options)


def http_request(array, request_id="", outputs=None, priority=0):
    tensor = http_client.InferInput("input", list(array.shape), np_to_triton_dtype(array.dtype))
    tensor.set_data_from_numpy(array)
    body, head_len = get_http_request(
        inputs=[tensor], request_id=request_id, outputs=outputs, sequence_id=0, sequence_start=False,
        sequence_end=False, priority=priority, timeout=None, custom_parameters=None,
    )
    assert len(body) == head_len + array.nbytes
    return body


def http_reply(array, request_id=""):
    output = {"name": "output", "datatype": np_to_triton_dtype(array.dtype), "shape": list(array.shape)}
    output["parameters"] = {"binary_data_size": array.nbytes}
    head = {"id": request_id} if request_id else {}
    head |= {"model_name": "echo", "model_version": "1", "outputs": [output]}
    head = json.dumps(head, separators=(",", ":")).encode()
    body = head + array.tobytes()
    read = http_client.InferResult.from_response_body(body, header_length=len(head)).as_numpy("output")
    assert read.tobytes() == array.tobytes() and read.shape == array.shape
    return body


def carried():
    for array in arrays():
        if array.dtype.str[0] != ">" and array.dtype.kind != "c":
            yield array


def http_lines():
    def entry(array, body, request_id="", **options):
        return line(array, body=body.hex(), reply=http_reply(array, request_id).hex(), **options)

    for array in carried():
        yield entry(array, http_request(array))
        if array.shape == (2, 3):
            outputs = [http_client.InferRequestedOutput("output", binary_data=True)]
            yield entry(array, http_request(array, "a 1", outputs, 3), "a 1", decode_only=True)


def lines():
    for array in carried():
        yield entry(array, request(array))
        if array.shape == (2, 3):
            yield entry(array, request(array, "\u00e9 1"), "\u00e9 1", decode_only=True)
            outputs = [client.InferRequestedOutput("output")]
            sent = request(array, "2", outputs, "1")
            sent.parameters["priority"].uint64_param = 3
            sent.inputs[0].parameters["x"].string_param = "y"
            yield entry(array, sent, "2", decode_only=True)


def main():
    for name, made in [("kserve", lines()), ("kserve_http", http_lines())]:
        (DATA / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in made))


if __name__ == "__main__":
    main()
