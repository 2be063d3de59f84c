"""Sends an array as base64 in JSON over HTTP, with the standard library and NumPy.

rest_base64.py 127.0.0.1:50055
"""

import base64
import json
import sys
import urllib.request

import numpy as np


def echo(address, array):
    buffer = base64.b64encode(array.tobytes()).decode()
    message = {"buffer": buffer, "dtype": array.dtype.str, "shape": array.shape}
    headers = {"Content-Type": "application/json"}
    body = json.dumps(message).encode()
    request = urllib.request.Request(f"http://{address}/echo_json", body, headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        got = json.load(reply)
    return np.frombuffer(base64.b64decode(got["buffer"]), got["dtype"]).reshape(got["shape"])


def main(address):
    sent = np.array([[1.5, np.nan, -0.0], [np.inf, 0.1, 5e-324]])
    got = echo(address, sent)
    if (got.dtype, got.shape, got.tobytes()) != (sent.dtype, sent.shape, sent.tobytes()):
        sys.exit(f"sent {sent.dtype} {sent.tolist()}, got {got.dtype} {got.tolist()}")
    print(f"Python urllib, base64 in JSON: {got.dtype.str} {got.shape} came back bit for bit")


if __name__ == "__main__":
    main(sys.argv[1])
