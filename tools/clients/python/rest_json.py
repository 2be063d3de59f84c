"""Sends an array as a JSON list over HTTP, with the standard library and NumPy.

rest_json.py 127.0.0.1:50055
"""

import json
import sys
import urllib.request

import numpy as np


def echo(address, array):
    # Not every server reads the NaN and Infinity that json.dumps writes.
    body = json.dumps({"data": array.tolist(), "dtype": array.dtype.str}).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://{address}/echo_json", body, headers)
    with urllib.request.urlopen(request, timeout=30) as reply:
        got = json.load(reply)
    return np.array(got["data"], got["dtype"])


def main(address):
    sent = np.array([[1.5, -0.0, 1e300], [-7.0, 0.1, 5e-324]])
    got = echo(address, sent)
    if (got.dtype, got.shape, got.tobytes()) != (sent.dtype, sent.shape, sent.tobytes()):
        sys.exit(f"sent {sent.dtype} {sent.tolist()}, got {got.dtype} {got.tolist()}")
    print(f"Python urllib, JSON list: {got.dtype.str} {got.shape} came back bit for bit")


if __name__ == "__main__":
    main(sys.argv[1])
