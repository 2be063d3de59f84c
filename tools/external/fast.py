"""Codecs with the fastest Python libraries: orjson, pybase64, msgspec. Same interface as `seed`.

.npy has no faster library than NumPy itself.
"""

import msgspec
import numpy as np
import orjson
import pybase64

import contract
from seed import Npy

MSGPACK_DECODER = msgspec.msgpack.Decoder()
MSGPACK_ENCODER = msgspec.msgpack.Encoder()


def load(body):
    """Parses a JSON body."""
    return orjson.loads(body)


class Json:
    @staticmethod
    def read(message, body):
        array = contract.from_numbers(message["data"], message["dtype"], body)
        # orjson refuses Infinity. A large number overflows to it in f4 and f2, and orjson would write null.
        if array.dtype.kind == "f" and array.itemsize < 8 and not np.isfinite(array).all():
            raise contract.Refused(f"a number beyond {array.dtype.str}, and orjson cannot write Infinity")
        return array

    @staticmethod
    def decode(body):
        return Json.read(load(body), body)

    @staticmethod
    def encode(array):
        # orjson accepts native arrays with at least one dimension. Other arrays become lists first.
        data = array if array.dtype.isnative and array.ndim else array.tolist()
        return orjson.dumps({"data": data, "dtype": array.dtype.str}, option=orjson.OPT_SERIALIZE_NUMPY)


class JsonBinary:
    @staticmethod
    def read(message, body):
        buffer = pybase64.b64decode(message["buffer"], validate=True)
        return contract.from_bytes(buffer, message["dtype"], message["shape"])

    @staticmethod
    def decode(body):
        return JsonBinary.read(load(body), body)

    @staticmethod
    def encode(array):
        text = pybase64.b64encode_as_string(array)
        return orjson.dumps({"buffer": text, "dtype": array.dtype.str, "shape": array.shape})


class Msgpack:
    @staticmethod
    def decode(body):
        try:
            message = MSGPACK_DECODER.decode(body)
        except msgspec.MsgspecError as error:
            raise contract.Refused(str(error))
        if not isinstance(message, dict) or message.get(b"kind") or message[b"nd"] is not True:
            raise contract.Refused("expected the map of a plain array, neither structured nor pickled")
        return contract.from_bytes(message[b"data"], message[b"type"], message[b"shape"])

    @staticmethod
    def encode(array):
        return MSGPACK_ENCODER.encode(
            {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.data}
        )
