"""Arrays and checks of the clients that call the echo model."""

import numpy as np
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

DATATYPES = ["BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64"]
LISTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
}
SHAPES = [(), (0,), (1,), (7,), (2, 3), (3, 0, 2), (300, 1000)]


def arrays():
    """Yields random bits of every datatype in every shape, with a name for the request."""
    rng = np.random.default_rng(1)
    for datatype in DATATYPES:
        for shape in SHAPES:
            dtype = np.dtype(triton_to_np_dtype(datatype))
            count = int(np.prod(shape, dtype=int))
            bits = rng.integers(0, 2 if datatype == "BOOL" else 256, count * dtype.itemsize, "u1")
            yield f"{datatype} {shape}", np.frombuffer(bits.tobytes(), dtype).reshape(shape)


def check_same(name, array, back):
    assert (back.dtype, back.shape) == (array.dtype, array.shape), (name, back.dtype, back.shape)
    assert back.tobytes() == array.tobytes(), f"{name} came back changed"


def refused(call, code, text):
    """Checks that a call fails with a status and a part of its message."""
    try:
        call()
    except InferenceServerException as error:
        assert code in str(error.status()) and text in error.message(), (error.status(), error.message())
        return
    raise AssertionError(f"accepted, expected: {text}")


def finish():
    print(f"tritonclient: {len(DATATYPES)} datatypes in {len(SHAPES)} shapes came back, wrong requests were refused")
