"""Codecs of the original benchmark: the usual code over json, base64, msgpack and NumPy.

Each class has `decode(body)`, which returns a checked array, and `encode(array)`, which returns a new message. The
JSON classes also `read` a message that `load` has parsed: both forms share a path, and the message tells which it is.
"""

import base64
import io
import json

import msgpack
import msgpack_numpy
import numpy as np

import contract


def load(body):
    """Parses a JSON body."""
    return json.loads(body)


class Json:
    @staticmethod
    def read(message, body):
        return contract.from_numbers(message["data"], message["dtype"], body)

    @staticmethod
    def decode(body):
        return Json.read(load(body), body)

    @staticmethod
    def encode(array):
        return json.dumps({"data": array.tolist(), "dtype": array.dtype.str}).encode()


class JsonBinary:
    @staticmethod
    def read(message, body):
        buffer = base64.b64decode(message["buffer"], validate=True)
        return contract.from_bytes(buffer, message["dtype"], message["shape"])

    @staticmethod
    def decode(body):
        return JsonBinary.read(load(body), body)

    @staticmethod
    def encode(array):
        text = base64.b64encode(array.tobytes()).decode("ascii")
        return json.dumps({"buffer": text, "dtype": array.dtype.str, "shape": array.shape}).encode()


class Msgpack:
    @staticmethod
    def decode(body):
        array = msgpack.unpackb(body, object_hook=Msgpack.hook)
        if not isinstance(array, np.ndarray):
            raise contract.Refused("expected the map that msgpack_numpy makes of an array")
        return array

    @staticmethod
    def hook(message):
        """Checks the map, then calls the hook of msgpack_numpy, which unpickles and accepts any length."""
        contract.dtype(message[b"type"])
        contract.check_shape(message[b"shape"])
        if message.get(b"kind") or message[b"nd"] is not True:
            raise contract.Refused("expected the map of a plain array, neither structured nor pickled")
        array = msgpack_numpy.decode(message)
        if array.nbytes != len(message[b"data"]):
            raise contract.Refused(f"shape and dtype need {array.nbytes} bytes, got {len(message[b'data'])}")
        return array

    @staticmethod
    def encode(array):
        return msgpack.packb(array, default=msgpack_numpy.encode)


class Npy:
    @staticmethod
    def decode(body):
        file = io.BytesIO(body)
        array = np.load(file, allow_pickle=False)
        if not isinstance(array, np.ndarray) or file.read(1):
            raise contract.Refused("expected one .npy file and nothing behind it")
        contract.dtype(array.dtype.str)
        return array

    @staticmethod
    def encode(array):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        return file.getvalue()
