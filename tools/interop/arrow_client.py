"""Tests the Arrow tensors of a server of the contract with pyarrow.

Usage: arrow_client.py http://HOST:PORT
Posts what `pyarrow.ipc.write_tensor` writes, and reads the replies with `pyarrow.ipc.read_tensor`. A reply must equal
its request, byte for byte. Then it changes each byte of the metadata: what the server still accepts, pyarrow must
read as the same array or refuse.
Prints one line for each passed check. The first failed check is an exception with exit status 1.
"""

import http.client
import sys
import urllib.parse

import numpy as np
import pyarrow
import pyarrow.ipc

import arrays

PATH = "/echo_arrow"
CONTENT_TYPE = "application/x-arrow-tensor"


def message(array, names=None):
    sink = pyarrow.BufferOutputStream()
    tensor = pyarrow.Tensor.from_numpy(array, names) if names else pyarrow.Tensor.from_numpy(array)
    pyarrow.ipc.write_tensor(tensor, sink)
    return sink.getvalue().to_pybytes()


def read(body):
    return pyarrow.ipc.read_tensor(pyarrow.py_buffer(body)).to_numpy()


def post(connection, body):
    connection.request("POST", PATH, body)
    response = connection.getresponse()
    return response, response.read()


def echo(connection, body):
    response, reply = post(connection, body)
    if response.status != 200:
        raise AssertionError(f"{response.status} {reply!r}")
    if response.headers["content-type"] != CONTENT_TYPE:
        raise AssertionError(f"content type {response.headers['content-type']!r}")
    return reply


def refused(connection, body, word):
    response, reply = post(connection, body)
    if response.status != 400 or word not in reply.decode():
        raise AssertionError(f"expected 400 with {word!r}, got {response.status} {reply!r}")


def every_array(connection):
    count = 0
    for array in arrays.arrays():
        # pyarrow would take booleans for bytes, and numbers of any byte order for little-endian ones.
        if array.dtype.kind in "bc" or array.dtype.str[0] == ">":
            continue
        body = message(array)
        reply = echo(connection, body)
        if reply != body:
            raise AssertionError(f"{array.dtype.str} {array.shape}: {reply.hex()} is not {body.hex()}")
        arrays.same(read(reply), array)
        count += 1
    print(f"pyarrow: {count} arrays, every dtype of a tensor and every shape, come back as the same bytes")


def large(connection):
    for mib in (1, 64):
        array = np.random.default_rng(mib).random((mib * 64, 2048))
        arrays.same(read(echo(connection, message(array))), array)
    print("pyarrow: 1 MiB and 64 MiB")


def names_and_orders(connection):
    array = np.arange(6.0).reshape(2, 3)
    if echo(connection, message(array, ["rows", "columns"])) != message(array):
        raise AssertionError("names of dimensions: the reply should have none")
    refused(connection, message(np.asfortranarray(array)), "columns first")
    refused(connection, b"\xff\xff\xff\xff\0\0\0\0", "the end of a stream")
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, pyarrow.schema([("x", pyarrow.float64())])):
        pass
    refused(connection, sink.getvalue().to_pybytes(), "Schema: expected Tensor")
    print("pyarrow: names of dimensions are dropped; columns first and a stream are refused")


def changes(connection):
    accepted = stricter = refusals = 0
    for array in (np.arange(6, dtype="<i2").reshape(2, 3), np.array(0.5)):
        whole = message(array)
        for at in range(len(whole) - array.nbytes):
            for change in (1, 2, 4, 0x80, 0xFF):
                body = bytearray(whole)
                body[at] ^= change
                response, reply = post(connection, bytes(body))
                if response.status == 400:
                    refusals += 1
                    continue
                if response.status != 200:
                    raise AssertionError(f"byte {at} changed by {change:#x}: {response.status} {reply!r}")
                accepted += 1
                try:
                    want = read(bytes(body))
                except (pyarrow.ArrowException, OSError):
                    stricter += 1  # pyarrow also verifies what a reader of the array never looks at
                    continue
                got = read(reply)
                if got.dtype != want.dtype or got.shape != want.shape or got.tobytes() != want.tobytes():
                    raise AssertionError(f"byte {at} changed by {change:#x}: {got!r} is not {want!r}")
    print(f"pyarrow: {refusals} changed messages are refused; {accepted} are read, {stricter} of them not by pyarrow")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(sys.argv[1]).netloc, timeout=300)
    every_array(connection)
    large(connection)
    names_and_orders(connection)
    changes(connection)


if __name__ == "__main__":
    main()
