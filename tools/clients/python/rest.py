"""Sends an array as a .npy file over HTTP, with the standard library and NumPy.

rest.py 127.0.0.1:50055
"""

import io
import sys
import urllib.request

import numpy as np


def echo(address, array):
    body = io.BytesIO()
    np.save(body, array, allow_pickle=False)
    headers = {"Content-Type": "application/x-npy"}
    request = urllib.request.Request(f"http://{address}/echo_npy", body.getvalue(), headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        return np.load(io.BytesIO(reply.read()), allow_pickle=False)


def main(address):
    sent = np.array([[1.5, np.nan, -0.0], [np.inf, 0.1, 5e-324]])
    got = echo(address, sent)
    if (got.dtype, got.shape, got.tobytes()) != (sent.dtype, sent.shape, sent.tobytes()):
        sys.exit(f"sent {sent.dtype} {sent.tolist()}, got {got.dtype} {got.tolist()}")
    print(f"Python urllib, .npy: {got.dtype.str} {got.shape} came back bit for bit")


if __name__ == "__main__":
    main(sys.argv[1])
