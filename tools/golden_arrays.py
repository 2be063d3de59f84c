"""Arrays of tests/data, shared by the scripts that write them as messages."""

import pathlib

import numpy as np

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"
DTYPES = ["|b1", "|i1", "|u1"] + [
    order + name
    for name in ["i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8", "c8", "c16"]
    for order in "<>"
]
SHAPES = [(), (0,), (1,), (3,), (2, 3), (2, 0, 3), (3, 2, 2)]


def values(dtype, count, rng):
    """Returns `count` items: the edges of the dtype first, then random ones."""
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.integers(0, 2, count).astype(dtype)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        edges = [info.min, info.max, 1, 0, info.max - 1, info.min + 1]
        more = rng.integers(info.min, info.max, max(0, count - len(edges)), dtype=dtype.newbyteorder("="), endpoint=True)
        return np.concatenate([np.array(edges[:count], dtype), more]).astype(dtype)
    real = np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype
    info = np.finfo(real)
    edges = [0.1, -0.0, 1.0, info.max, info.smallest_subnormal, np.inf, np.nan, -np.inf, info.tiny, -info.max, 1e-5, 3e-7]
    more = rng.random(max(0, 2 * count - len(edges)))
    parts = np.concatenate([np.array(edges, real), more]).astype(real.newbyteorder(dtype.byteorder))
    return (parts[: 2 * count].view(dtype) if dtype.kind == "c" else parts[:count]).copy()


def arrays():
    """Yields every dtype in every shape, and a few special arrays."""
    rng = np.random.default_rng(1)
    for dtype in DTYPES:
        for shape in SHAPES:
            yield values(dtype, int(np.prod(shape, dtype=int)), rng).reshape(shape)
    yield values("<f8", 2, rng).reshape((2,) + (1,) * 63)
    yield values("|u1", 300, rng).reshape(300)  # lengths of more than one byte
    # Doubles with a long text, a short text, or a value near a change of its form.
    powers = [float(f"{mantissa}e{exponent}") for exponent in range(-324, 309, 7) for mantissa in ["1", "-1.7976931348623157"]]
    near = [float(f"9.999999999999999e{exponent}") for exponent in range(-8, 24)]
    bits = rng.integers(0, 2**64, 300, dtype="u8").view("f8")
    yield np.array(powers + near + [10.0**exponent for exponent in range(-8, 24)] + [b for b in bits if np.isfinite(b)])
    yield rng.random(64)
    yield (rng.standard_normal(60) * 100).astype("<f4").reshape(5, 4, 3)


def line(array, **message):
    return {"dtype": array.dtype.str, "shape": list(array.shape), "data": array.tobytes().hex(), **message}
