"""Checks of the contract for every encoding: the closed list of dtypes, and limits that NumPy does not have.

NumPy accepts more than the contract (object arrays, 1.5 as an integer, null as NaN, a negative dimension). Each
decoder therefore uses these functions. Every fault of a message raises one of `BAD_INPUT`, whose text goes to the
client.
"""

import itertools
import math

import numpy as np

NAMES = ["|b1", "|i1", "|u1"] + [
    order + kind
    for order in "<>"
    for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
]
# A dtype of one byte has no byte order, and "=" means that of this machine: both have several names.
DTYPES = {
    **{name: np.dtype(name) for name in NAMES},
    **{order + name[1:]: np.dtype(name) for name in NAMES[:3] for order in "<>="},
    **{"=" + name[1:]: np.dtype(name) for name in NAMES[3:] if name[0] == "<"},
}

# Python types that a list may contain, for each kind of dtype.
ITEM_TYPES = {"b": {bool}, "i": {int}, "u": {int}, "f": {float, int}}
# Kinds that NumPy chooses for a list of these types without a bool.
FOUND_KINDS = {"i": "iu", "u": "iu", "f": "fiu"}

RANK_MAX = 64  # limit of NumPy


class Refused(ValueError):
    """A well-formed message that is not an array of the contract."""


BAD_INPUT = (
    ValueError,  # Refused, json, orjson, base64, msgpack, NumPy
    TypeError,
    KeyError,
    OverflowError,
    EOFError,  # truncated .npy
    RecursionError,  # lists nested too deeply
    MemoryError,  # .npy whose header announces too many bytes
)


def dtype(name):
    """Returns the dtype called `name`. `name` can be any value of a message."""
    found = DTYPES.get(name) if isinstance(name, str) else None
    if found is None:
        raise Refused(f"dtype {name!r} is not supported: expected one like |b1, <i4, >u2, <f8 or <c16")
    return found


def from_bytes(buffer, name, shape):
    """Returns an array over `buffer` without a copy. Its length must equal that of dtype and shape."""
    item = dtype(name)
    check_shape(shape)
    try:
        return np.frombuffer(buffer, item).reshape(shape)
    except (ValueError, OverflowError):
        raise Refused(misfit(len(buffer), item, shape))


def check_shape(shape):
    """Refuses dimensions that NumPy would reinterpret: -1, true, 2.0."""
    for dim in shape:
        if type(dim) is not int or dim < 0:
            raise Refused(f"shape {shape!r}: expected a list of integers, none negative")


def misfit(buffer_len, item, shape):
    """Returns why a buffer of `buffer_len` bytes does not fit this dtype and shape."""
    if math.prod(dim for dim in shape if dim) * item.itemsize >= 2**63:
        return "array size overflows 63 bits"
    if len(shape) > RANK_MAX:
        return f"array has {len(shape)} dimensions, at most {RANK_MAX} are supported"
    return f"shape and dtype need {math.prod(shape) * item.itemsize} bytes of data, got {buffer_len}"


def from_numbers(data, name, text):
    """Returns the array of a nested list that was read from `text`. Refuses an item that is not exact."""
    wanted = dtype(name)
    if wanted.kind not in ITEM_TYPES:
        raise Refused(f"dtype {name!r} has no form as a list of numbers")
    # The dtype that NumPy chooses is nearly free, but it accepts a bool as a number. In doubt, check each item.
    array = np.array(data)
    if array.dtype.kind not in FOUND_KINDS.get(wanted.kind, "") or b"true" in text or b"false" in text:
        check_items(data, wanted)
    elif array.dtype == wanted:
        return array
    return np.array(data, dtype=wanted)


def check_items(data, wanted):
    """Refuses a list with an item that NumPy would convert to `wanted`."""
    array = np.array(data, dtype=wanted)
    items = data if array.ndim else [data]
    for _ in range(array.ndim - 1):
        items = itertools.chain.from_iterable(items)
    others = set(map(type, items)) - ITEM_TYPES[wanted.kind]
    if others:
        raise Refused(f"a {others.pop().__name__} in a list for dtype {wanted.str}")


def is_list_form(message):
    """Returns true for `{"data": ..}` and false for `{"buffer": ..}`. Refuses every other message."""
    has_data = "data" in message
    if not isinstance(message, dict) or has_data == ("buffer" in message):
        raise Refused('expected an object with either "data" or "buffer"')
    return has_data


def reason(error):
    """Returns the text for the client about a fault of its message. Never empty."""
    return str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
