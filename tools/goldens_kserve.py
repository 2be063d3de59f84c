#!/usr/bin/env python3
"""Makes tests/data/kserve.jsonl: arrays as requests of tritonclient, with the replies of an echo model.

    python3 -m venv DIR && DIR/bin/pip install -r tools/interop/requirements-kserve.txt
    DIR/bin/python tools/goldens_kserve.py

It has the form of the files of tools/goldens.py, and runs apart because tritonclient needs an older protobuf. `reply`
is the reply to `body`, by the client's own protobuf classes.
"""

import json

import numpy as np
import tritonclient.grpc as client
from tritonclient.grpc import service_pb2
from tritonclient.grpc._utils import _get_inference_request

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


def lines():
    for array in arrays():
        if array.dtype.str[0] == ">" or array.dtype.kind == "c":
            continue
        yield entry(array, request(array))
        if array.shape == (2, 3):
            yield entry(array, request(array, "\u00e9 1"), "\u00e9 1", decode_only=True)
            outputs = [client.InferRequestedOutput("output")]
            sent = request(array, "2", outputs, "1")
            sent.parameters["priority"].uint64_param = 3
            sent.inputs[0].parameters["x"].string_param = "y"
            yield entry(array, sent, "2", decode_only=True)


def main():
    (DATA / "kserve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines()))


if __name__ == "__main__":
    main()
