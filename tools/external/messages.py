"""Protobuf message of the contract, and the echo of a gRPC server.

The set-up of the environment generates the class from proto/ndecho.proto into the folder `contract`.
"""

import pathlib
import sys

import contract

sys.path.append(str(pathlib.Path(sys.prefix) / "contract"))

from ndecho_pb2 import NDArray  # noqa: E402

SERVICE = "Calculator"
METHOD = "Echo"
MESSAGE_BYTES_MAX = 192 * 1024 * 1024  # the same as for REST
SIZE_OPTIONS = [
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
]


def array(message):
    """Returns the checked array of a message, without a copy."""
    return contract.from_bytes(message.buffer, message.dtype, tuple(message.shape))


def message(array):
    """Returns a new message with a copy of the array."""
    return NDArray(buffer=array.tobytes(), dtype=array.dtype.str, shape=array.shape)


def echo(request):
    """Returns the reply to a message. Raises one of `contract.BAD_INPUT`."""
    return message(array(request))
