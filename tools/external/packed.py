"""PackedArray of proto/packed.proto, an array as a list of numbers, and the echo of a gRPC server.

The set-up of the environment generates the class into the folder `contract`. protobuf's upb gives a list of numbers to
NumPy as one buffer, but takes a new one number by number: fastest from a Python list (protobuf 7.36.2).
"""

import pathlib
import sys

import contract
import numpy as np

sys.path.append(str(pathlib.Path(sys.prefix) / "contract"))

import packed_pb2  # noqa: E402

PackedArray = packed_pb2.PackedArray

# Field and class of the list for each kind and size of item. Protobuf has no halves and no complex numbers.
LISTS = {
    "f8": ("doubles", packed_pb2.Doubles),
    "f4": ("floats", packed_pb2.Floats),
    "i8": ("int64s", packed_pb2.Int64s),
    "u8": ("uint64s", packed_pb2.UInt64s),
    "b1": ("bools", packed_pb2.Bools),
    **dict.fromkeys(("i1", "i2", "i4"), ("int32s", packed_pb2.Int32s)),
    **dict.fromkeys(("u1", "u2", "u4"), ("uint32s", packed_pb2.UInt32s)),
}


def list_for(item):
    """Returns field and class of the list for items of a dtype."""
    found = LISTS.get(f"{item.kind}{item.itemsize}")
    if found is None:
        raise contract.Refused(f"dtype {item.str!r}: protobuf has no such number")
    return found


def array(message):
    """Returns the checked array of a message, whose numbers are copied."""
    item = contract.dtype(message.dtype)
    field, _ = list_for(item)
    given = message.WhichOneof("items")
    if given not in (None, field):
        raise contract.Refused(f"expected {field} for dtype {item.str}, got {given}")
    numbers = np.asarray(getattr(message, field).values)
    if numbers.itemsize > item.itemsize and numbers.size:
        limits = np.iinfo(item)
        if numbers.min() < limits.min or numbers.max() > limits.max:
            raise contract.Refused(f"an integer out of range of {item.str}")
    buffer = numbers.astype(item, copy=False).view(np.uint8)
    return contract.from_bytes(buffer, message.dtype, tuple(message.shape))


def message(array):
    """Returns a new message with the numbers of the array."""
    field, numbers = list_for(array.dtype)
    items = {field: numbers(values=array.ravel().tolist())}
    return PackedArray(dtype=array.dtype.str, shape=array.shape, **items)


def echo(request):
    """Returns the reply to a message. Raises one of `contract.BAD_INPUT`."""
    return message(array(request))
