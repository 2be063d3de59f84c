#!/usr/bin/env python3
"""Makes tests/data/kserve.jsonl, kserve_typed.jsonl and kserve_http.jsonl: arrays as requests of tritonclient over gRPC
and HTTP, with the replies of an echo model.

    python3 -m venv DIR && DIR/bin/pip install -r tools/interop/requirements-kserve.txt
    DIR/bin/python tools/goldens_kserve.py

They have the form of the files of tools/goldens.py, and are made apart because tritonclient needs an older protobuf.
`reply` is the reply to `body`: over gRPC by the client's own protobuf classes, over HTTP as Triton writes it, read by the
client. The client sends raw contents only, so requests with typed contents are made by its protobuf classes, too.
"""

import json
import re

import numpy as np
import tritonclient.grpc as client
import tritonclient.http as http_client
from tritonclient.grpc import service_pb2
from tritonclient.grpc._utils import _get_inference_request
from tritonclient.http._utils import _get_inference_request as get_http_request

from golden_arrays import DATA, arrays, line
from tritonclient.utils import np_to_triton_dtype

LISTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}


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


def typed_contents(array):
    contents = service_pb2.InferTensorContents()
    getattr(contents, LISTS[np_to_triton_dtype(array.dtype)]).extend(array.ravel().tolist())
    return contents


def typed_request(array, **options):
    message = request(array, **options)
    del message.raw_input_contents[:]
    message.inputs[0].contents.CopyFrom(typed_contents(array))
    return message


def typed_reply(array, request_id=""):
    message = reply(array, request_id)
    del message.raw_output_contents[:]
    message.outputs[0].contents.CopyFrom(typed_contents(array))
    return message


def typed_entry(array, sent, request_id="", **options):
    answer = typed_reply(array, request_id).SerializeToString(deterministic=True).hex()
    return line(array, body=sent.hex(), reply=answer, **options)


def unpacked(array):
    """Returns the numbers of a tensor as fields of their own, as writers before proto3 have them."""
    contents = typed_contents(array)
    number = contents.DESCRIPTOR.fields_by_name[LISTS[np_to_triton_dtype(array.dtype)]].number
    whole = contents.SerializeToString()
    key, kind = whole[:1], number << 3
    assert key == bytes([kind | 2]) and whole[1] < 128 and whole[1] == len(whole) - 2
    numbers = whole[2:]
    if array.dtype.kind == "f":
        size = array.itemsize
        items = [numbers[at : at + size] for at in range(0, len(numbers), size)]
        kind |= {4: 5, 8: 1}[size]
    else:
        items = re.findall(rb"(?s)[\x80-\xff]*[\x00-\x7f]", numbers)
    made = b"".join(bytes([kind]) + item for item in items)
    assert service_pb2.InferTensorContents.FromString(made) == contents
    return made


def unpacked_request(array):
    """Returns a request with numbers in fields of their own, read back by the client's protobuf."""
    message = typed_request(array)
    want = message.SerializeToString(deterministic=True)
    message.inputs[0].ClearField("contents")
    contents = unpacked(array)
    tensor = message.inputs[0].SerializeToString(deterministic=True)
    tensor += b"\x2a" + varint(len(contents)) + contents
    del message.inputs[:]
    made = message.SerializeToString(deterministic=True) + b"\x2a" + varint(len(tensor)) + tensor
    assert service_pb2.ModelInferRequest.FromString(made).SerializeToString(deterministic=True) == want
    return made


def varint(number):
    groups = [number >> shift & 127 for shift in range(0, max(number.bit_length(), 1), 7)]
    return bytes(group | 128 for group in groups[:-1]) + bytes(groups[-1:])


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


def typed_lines():
    def sent(message):
        return message.SerializeToString(deterministic=True)

    for array in carried():
        if np_to_triton_dtype(array.dtype) not in LISTS:
            continue
        yield typed_entry(array, sent(typed_request(array)))
        if array.shape == (2, 3):
            yield typed_entry(array, sent(typed_request(array, request_id="\u00e9 1")), "\u00e9 1", decode_only=True)
            outputs = [client.InferRequestedOutput("output")]
            message = typed_request(array, request_id="2", outputs=outputs, version="1")
            message.parameters["priority"].uint64_param = 3
            message.inputs[0].parameters["x"].string_param = "y"
            yield typed_entry(array, sent(message), "2", decode_only=True)
            yield typed_entry(array, unpacked_request(array), decode_only=True)


def main():
    for name, made in [("kserve", lines()), ("kserve_typed", typed_lines()), ("kserve_http", http_lines())]:
        (DATA / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in made))


if __name__ == "__main__":
    main()
