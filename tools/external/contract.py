"""What a message of the contract must be, for every encoding: the closed list of dtypes and the checks around NumPy.

NumPy takes more than the contract does (object arrays, 1.5 as an integer, null as NaN, a negative dimension), so each
way into an array goes through here. Whatever is wrong with a message ends in one of `BAD_INPUT`, and its text is for
the client.
"""

import itertools
import math

import numpy as np

NAMES = ["|b1", "|i1", "|u1"] + [
    order + kind
    for order in "<>"
    for kind in ("i2", "i4", "i8", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
]
# A byte has no order, and "=" is this machine's, so both have more than one name.
DTYPES = {
    **{name: np.dtype(name) for name in NAMES},
    **{order + name[1:]: np.dtype(name) for name in NAMES[:3] for order in "<>="},
    **{"=" + name[1:]: np.dtype(name) for name in NAMES[3:] if name[0] == "<"},
}

# The types that Python's numbers may have in a list of each kind of dtype.
ITEM_TYPES = {"b": {bool}, "i": {int}, "u": {int}, "f": {float, int}}
# The kinds that NumPy finds in a list whose items have these types, and no bool among them.
FOUND_KINDS = {"i": "iu", "u": "iu", "f": "fiu"}

RANK_MAX = 64  # NumPy's own


class Refused(ValueError):
    """The message is well-formed but not an array of the contract."""


BAD_INPUT = (
    ValueError,  # Refused, json, orjson, base64, msgpack, NumPy
    TypeError,
    KeyError,
    OverflowError,
    EOFError,  # a .npy cut short
    RecursionError,  # lists too deep
    MemoryError,  # a .npy that announces too much
)


def dtype(name):
    """The dtype called `name`, which may be anything that a message can hold."""
    found = DTYPES.get(name) if isinstance(name, str) else None
    if found is None:
        raise Refused(f"dtype {name!r} is not supported: expected one like |b1, <i4, >u2, <f8 or <c16")
    return found


def from_bytes(buffer, name, shape):
    """The array over `buffer`, which must be just as long as dtype and shape say; nothing is copied."""
    item = dtype(name)
    check_shape(shape)
    try:
        return np.frombuffer(buffer, item).reshape(shape)
    except (ValueError, OverflowError):
        raise Refused(misfit(len(buffer), item, shape))


def check_shape(shape):
    """Refuses dimensions that NumPy would take for others: -1, true, 2.0."""
    for dim in shape:
        if type(dim) is not int or dim < 0:
            raise Refused(f"shape {shape!r}: expected a list of integers, none negative")


def misfit(buffer_len, item, shape):
    """Why a buffer of `buffer_len` bytes is no array of this dtype and shape."""
    if math.prod(dim for dim in shape if dim) * item.itemsize >= 2**63:
        return "array size overflows 63 bits"
    if len(shape) > RANK_MAX:
        return f"array has {len(shape)} dimensions, at most {RANK_MAX} are supported"
    return f"shape and dtype need {math.prod(shape) * item.itemsize} bytes of data, got {buffer_len}"


def from_numbers(data, name, text):
    """The array of a nested list that was read from `text`; each item exactly, or a refusal."""
    wanted = dtype(name)
    if wanted.kind not in ITEM_TYPES:
        raise Refused(f"dtype {name!r} has no form as a list of numbers")
    # NumPy's own finding is nearly free, but for bools, which it takes for numbers. If it is in doubt, look at each.
    array = np.array(data)
    if array.dtype.kind not in FOUND_KINDS.get(wanted.kind, "") or b"true" in text or b"false" in text:
        check_items(data, wanted)
    elif array.dtype == wanted:
        return array
    return np.array(data, dtype=wanted)


def check_items(data, wanted):
    """Refuses a list that holds another type than `wanted` has, which NumPy would convert."""
    array = np.array(data, dtype=wanted)
    items = data if array.ndim else [data]
    for _ in range(array.ndim - 1):
        items = itertools.chain.from_iterable(items)
    others = set(map(type, items)) - ITEM_TYPES[wanted.kind]
    if others:
        raise Refused(f"a {others.pop().__name__} in a list for dtype {wanted.str}")


def is_list_form(message):
    """True for `{"data": ..}`, false for `{"buffer": ..}`; a JSON message is one of the two."""
    has_data = "data" in message
    if not isinstance(message, dict) or has_data == ("buffer" in message):
        raise Refused('expected an object with either "data" or "buffer"')
    return has_data


def reason(error):
    """What is wrong with a message, for the client; never empty."""
    return str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
