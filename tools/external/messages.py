"""The contract's protobuf message, and what a gRPC server does with it.

The class is made from proto/ndecho.proto when the environment is set up, into its folder `contract`.
"""

import pathlib
import sys

import contract

sys.path.append(str(pathlib.Path(sys.prefix) / "contract"))

from ndecho_pb2 import NDArray  # noqa: E402

SERVICE = "Calculator"
METHOD = "Echo"
MESSAGE_BYTES_MAX = 192 * 1024 * 1024  # as for REST; the array itself may be nearly as large
SIZE_OPTIONS = [
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
]


def array(message):
    """The array in a message, checked, over the message's own bytes."""
    return contract.from_bytes(message.buffer, message.dtype, tuple(message.shape))


def message(array):
    """A fresh message with a copy of the array's bytes."""
    return NDArray(buffer=array.tobytes(), dtype=array.dtype.str, shape=array.shape)


def echo(request):
    """The reply to one message, or one of `contract.BAD_INPUT`."""
    return message(array(request))
