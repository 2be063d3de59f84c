"""Sends an array in MessagePack over HTTP, with msgpack, NumPy and the standard library.

rest_msgpack.py 127.0.0.1:50055
"""

import sys
import urllib.request

import msgpack
import numpy as np


def echo(address, array):
    message = {"nd": True, "type": array.dtype.str, "shape": array.shape, "data": array.tobytes()}
    headers = {"Content-Type": "application/x-msgpack"}
    body = msgpack.packb(message)
    request = urllib.request.Request(f"http://{address}/echo_msgpack", body, headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        got = msgpack.unpackb(reply.read())
    return np.frombuffer(got["data"], got["type"]).reshape(got["shape"])


def main(address):
    sent = np.array([[1.5, np.nan, -0.0], [np.inf, 0.1, 5e-324]])
    got = echo(address, sent)
    if (got.dtype, got.shape, got.tobytes()) != (sent.dtype, sent.shape, sent.tobytes()):
        sys.exit(f"sent {sent.dtype} {sent.tolist()}, got {got.dtype} {got.tolist()}")
    print(f"Python urllib, MessagePack: {got.dtype.str} {got.shape} came back bit for bit")


if __name__ == "__main__":
    main(sys.argv[1])
