"""Arrays of the interop clients, and Python code that writes and reads each encoding.

This code shares nothing with the Rust side, so that it is an independent check.
"""

import base64
import io
import json

import msgpack
import msgpack_numpy
import numpy as np

DTYPES = ["|b1", "|i1", "|u1"] + [
    order + kind
    for order in "<>"
    for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
]
SHAPES = [(), (0,), (1,), (3,), (2, 3), (2, 0, 3), (4, 1, 2), (1,) * 32]


def arrays():
    """Yields an array for each dtype and shape, with values that often reveal errors."""
    rng = np.random.default_rng(20190201)
    for name in DTYPES:
        dtype = np.dtype(name)
        for shape in SHAPES:
            count = int(np.prod(shape, dtype=np.int64))
            if dtype.kind == "b":
                flat = rng.integers(0, 2, count).astype(dtype)
            elif dtype.kind in "iu":
                info = np.iinfo(dtype)
                flat = rng.integers(info.min, info.max, count, dtype=dtype.newbyteorder("="), endpoint=True)
                flat[:2] = [info.min, info.max][:count]
            elif dtype.kind == "c":
                flat = (rng.standard_normal(count) + 1j * rng.standard_normal(count)).astype(dtype)
            else:
                flat = rng.standard_normal(count).astype(dtype)
                with np.errstate(over="ignore"):  # 1e16 overflows to inf in f2
                    edge = np.array([-0.0, np.inf, np.nan, -np.inf, 5e-324, 1e-5, 1e16]).astype(dtype)
                flat[: len(edge)] = edge[:count]
            yield flat.astype(dtype).reshape(shape)


def same(got, want):
    """Asserts equal dtype, shape and bytes, also for NaN."""
    if got.dtype != want.dtype or got.shape != want.shape or got.tobytes() != want.tobytes():
        raise AssertionError(f"sent {want.dtype.str} {want.shape} {want!r}, got {got.dtype.str} {got.shape} {got!r}")


class Json:
    path = "/echo_json"
    content_type = "application/json"

    @staticmethod
    def carries(array):
        return array.dtype.kind != "c"

    @staticmethod
    def encode(array):
        return json.dumps({"data": array.tolist(), "dtype": array.dtype.str}).encode()

    @staticmethod
    def decode(body):
        message = json.loads(body)
        return np.array(message["data"], dtype=message["dtype"])


class JsonBinary:
    path = "/echo_json"
    content_type = "application/json"

    @staticmethod
    def carries(array):
        return True

    @staticmethod
    def encode(array):
        text = base64.b64encode(array.tobytes()).decode("ascii")
        return json.dumps({"buffer": text, "dtype": array.dtype.str, "shape": array.shape}).encode()

    @staticmethod
    def decode(body):
        message = json.loads(body)
        buffer = base64.b64decode(message["buffer"], validate=True)
        return np.frombuffer(buffer, dtype=message["dtype"]).reshape(message["shape"])


class Msgpack:
    path = "/echo_msgpack"
    content_type = "application/x-msgpack"

    @staticmethod
    def carries(array):
        return True

    @staticmethod
    def encode(array):
        return msgpack.packb(array, default=msgpack_numpy.encode)

    @staticmethod
    def decode(body):
        return msgpack.unpackb(body, object_hook=msgpack_numpy.decode)


class Npy:
    path = "/echo_npy"
    content_type = "application/x-npy"

    @staticmethod
    def carries(array):
        return True

    @staticmethod
    def encode(array):
        file = io.BytesIO()
        np.save(file, array, allow_pickle=False)
        return file.getvalue()

    @staticmethod
    def decode(body):
        return np.load(io.BytesIO(body), allow_pickle=False)


class Reflect(Npy):
    path = "/echo_reflect"
    content_type = "application/octet-stream"


def protobuf(messages):
    """Returns the protobuf encoding over the generated module `messages`."""

    class Protobuf:
        path = "/echo_protobuf"
        content_type = "application/x-protobuf"

        @staticmethod
        def carries(array):
            return True

        @staticmethod
        def encode(array):
            return Protobuf.message(array).SerializeToString()

        @staticmethod
        def decode(body):
            return Protobuf.array(messages.NDArray.FromString(body))

        @staticmethod
        def message(array):
            return messages.NDArray(buffer=array.tobytes(), dtype=array.dtype.str, shape=array.shape)

        @staticmethod
        def array(message):
            return np.frombuffer(message.buffer, dtype=message.dtype).reshape(message.shape)

    return Protobuf


def contract(proto_dir):
    """Generates the modules of the contract, (messages, services), from the .proto file."""
    import sys

    import grpc

    sys.path.insert(0, proto_dir)
    return grpc.protos_and_services("ndecho.proto")
