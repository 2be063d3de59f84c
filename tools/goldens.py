#!/usr/bin/env python3
"""Makes tests/data/*.jsonl: arrays in the encodings of NumPy, msgpack_numpy, protobuf, json, cbor2, safetensors
and pyarrow.

    python3 -m venv DIR && DIR/bin/pip install -r tools/requirements-goldens.txt
    DIR/bin/python tools/goldens.py

One file per encoding, one array per line: its dtype, shape and C-order bytes (hex), and the message (`text` for the
JSON forms, `body` in hex for the others). `decode_only` marks messages that a client may send, but that we write
differently. `dtypes.json` has what numpy.dtype makes of a name, or null. The .npy files are inputs: Python 2 wrote
them, or a program with its own spelling of the dtype. With the pinned versions every run gives the same files.
"""

import base64
import io
import json
import warnings

import cbor2
import msgpack
import msgpack_numpy
import numpy as np
import pyarrow
import pyarrow.ipc
import safetensors.numpy
from golden_arrays import DATA, DTYPES, arrays, line, values
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SPELLINGS = ["float64", "f8", "=f8", "d", ">d", "|f8", "<u1", "uint8", "?", "bool", "int32", "l", "half", "complex64", "c16"]


def spelled():
    """Yields spellings of dtypes, each with an array of it."""
    rng = np.random.default_rng(3)
    for spelling in SPELLINGS:
        yield spelling, (rng.random(6) * 2).astype(np.dtype(spelling)).reshape(2, 3)


def dtypes():
    """What numpy.dtype makes of every combination of a mark, a code and a size, and of names."""
    codes = [kind + size for kind in "biufcOSUVMmgG" for size in ["", "1", "2", "3", "4", "8", "16", "32"]]
    codes += list("?BhHIlLqQpPnNedFDaw")
    codes += [name for name in dir(np) if isinstance(getattr(np, name), type)]
    codes += [name for name in np.sctypeDict if isinstance(name, str)]
    table = {}
    for text in [mark + code for mark in ["", "<", ">", "=", "|"] for code in codes]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                name = np.dtype(text).str
        except TypeError:
            name = None
        table[text] = name if name in DTYPES else None
    return table


def npy(array, version=None):
    file = io.BytesIO()
    if version:
        np.lib.format.write_array(file, array, version=version)
    else:
        np.save(file, array)
    return file.getvalue()


def npy_lines():
    for array in arrays():
        yield line(array, body=npy(array).hex())
    # Headers of every length modulo 64, one of which gets a whole line of padding more.
    for ones in range(22):
        for digits in range(3):
            array = np.empty((0, 10**digits) + (1,) * ones, "<f8")
            yield line(array, body=npy(array).hex())
    yield line(array := np.empty((10**17, 0), "|u1"), body=npy(array).hex())
    rng = np.random.default_rng(2)
    for dtype in ["|u1", "<i2", ">f4", "<f8", "<c16"]:
        for shape in [(2, 3), (1, 4), (3, 1, 2), (2, 3, 4), (2, 2, 2, 3)]:
            array = np.asfortranarray(values(dtype, int(np.prod(shape)), rng).reshape(shape))
            yield line(array, body=npy(array).hex(), decode_only=True)
    for version in [(2, 0), (3, 0)]:
        array = values("<f8", 6, rng).reshape(2, 3)
        yield line(array, body=npy(array, version).hex(), decode_only=True)
    for spelling, array in spelled():
        body = npy(array).replace(f"'{array.dtype.str}'".encode(), f"'{spelling}'".encode())
        length = len(body) - array.nbytes - 10
        yield line(array, body=(body[:8] + length.to_bytes(2, "little") + body[10:]).hex(), decode_only=True)
    for path in sorted(DATA.glob("*.npy")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # numpy.load warns of Python 2.
            yield line(np.load(path), body=path.read_bytes().hex(), decode_only=True)


def msgpack_lines():
    for array in arrays():
        body = msgpack.packb(array, default=msgpack_numpy.encode, use_bin_type=True)
        yield line(array, body=body.hex())
        if array.shape == (3,):
            body = msgpack.packb(array, default=msgpack_numpy.encode, use_bin_type=False)
            yield line(array, body=body.hex(), decode_only=True)
        if array.shape == () and array.dtype.byteorder in "|=":
            body = msgpack.packb(array[()], default=msgpack_numpy.encode, use_bin_type=True)
            if body[:1] == b"\x83":  # float64 and complex128 are Python's own numbers too, and written as such
                yield line(array, body=body.hex(), decode_only=True)
    for spelling, array in spelled():
        for kind in [b"", None, array.dtype.kind]:
            message = {"nd": True, "type": spelling, "kind": kind, "shape": array.shape, "data": array.tobytes()}
            yield line(array, body=msgpack.packb(message).hex(), decode_only=True)


def message_class(name, packed):
    """NDArray of proto/ndecho.proto, built here so that no protoc is needed."""
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3")
    message = file.message_type.add(name=name)
    field = descriptor_pb2.FieldDescriptorProto
    message.field.add(name="buffer", number=1, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    message.field.add(name="dtype", number=2, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    shape = message.field.add(name="shape", number=3, type=field.TYPE_UINT64, label=field.LABEL_REPEATED)
    if not packed:
        shape.options.packed = False
        message.field.add(name="later", number=100, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    descriptor_pool.Default().Add(file)
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(name))


def protobuf_lines():
    current, other = message_class("NDArray", True), message_class("Unpacked", False)
    for array in arrays():
        parts = dict(buffer=array.tobytes(), dtype=array.dtype.str, shape=array.shape)
        yield line(array, body=current(**parts).SerializeToString(deterministic=True).hex())
        if array.shape == (2, 3):
            body = other(**parts, later="unknown").SerializeToString(deterministic=True)
            yield line(array, body=body.hex(), decode_only=True)
    for spelling, array in spelled():
        body = current(buffer=array.tobytes(), dtype=spelling, shape=array.shape).SerializeToString(deterministic=True)
        yield line(array, body=body.hex(), decode_only=True)
    yield line(array := np.empty((0, 2**56), "|b1"), body=current(dtype="|b1", shape=array.shape).SerializeToString().hex())


LISTS = {"doubles": "double", "floats": "float", "int32s": "int32", "int64s": "int64"}
LISTS |= {"uint32s": "uint32", "uint64s": "uint64", "bools": "bool"}


def packed_class(packed):
    """PackedArray of proto/packed.proto, with packed or unpacked lists."""
    name = "PackedArray" if packed else "UnpackedArray"
    file = descriptor_pb2.FileDescriptorProto(name=f"{name}.proto", syntax="proto3", package="" if packed else "unpacked")
    field = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name=name)
    message.field.add(name="dtype", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    message.field.add(name="shape", number=2, type=field.TYPE_UINT64, label=field.LABEL_REPEATED)
    message.oneof_decl.add(name="items")
    prefix = f".{file.package}." if file.package else "."
    for number, (item, scalar) in enumerate(LISTS.items(), 3):
        kind = file.message_type.add(name=f"List{number}")
        kind.field.add(name="values", number=1, type=getattr(field, f"TYPE_{scalar.upper()}"), label=field.LABEL_REPEATED)
        kind.field[0].options.packed = packed
        message.field.add(name=item, number=number, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL,
                          type_name=f"{prefix}List{number}", oneof_index=0)
    descriptor_pool.Default().Add(file)
    full = f"{file.package}.{name}" if file.package else name
    return message_factory.GetMessageClass(descriptor_pool.Default().FindMessageTypeByName(full))


def protobuf_packed_lines():
    current, unpacked = packed_class(True), packed_class(False)
    small = {"i": "int32s", "u": "uint32s"}
    for array in arrays():
        if array.dtype.kind == "c" or array.dtype.str[1:] == "f2":
            continue
        item = {"f8": "doubles", "f4": "floats", "i8": "int64s", "u8": "uint64s", "b1": "bools"}.get(array.dtype.str[1:])
        item = item or small[array.dtype.kind]
        for cls, options in [(current, {}), (unpacked, {"decode_only": True})]:
            if options and array.shape != (2, 3):
                continue
            message = cls(dtype=array.dtype.str, shape=array.shape)
            getattr(message, item).SetInParent()
            getattr(message, item).values.extend(array.reshape(-1).tolist())
            yield line(array, body=message.SerializeToString(deterministic=True).hex(), **options)


def json_lines():
    for array in arrays():
        if array.dtype.kind == "c":
            continue
        message = {"data": array.tolist(), "dtype": array.dtype.str}
        text = json.dumps(message)
        back = np.array(json.loads(text)["data"], array.dtype)
        if back.shape != array.shape:  # (2, 0, 3) is [[], []]
            continue
        assert back.tobytes() == array.tobytes(), array
        yield line(array, text=text)
        if array.shape == (2, 3):
            for text in [
                json.dumps(message, separators=(",", ":")),
                json.dumps(dict(reversed(message.items()))),
                json.dumps({"id": {"a": [1, None, {"b": "\u00e9\U0001f600\""}]}, **message}, indent=1),
            ]:
                yield line(array, text=text, decode_only=True)
    for text in ["[1e400, -1e400, 1E5, -0, 12345678901234567890, 0.1e+1, 100000000000000000000000.0]"]:
        for dtype in ["<f8", "<f4", ">f2"]:
            with np.errstate(over="ignore"):
                array = np.array(json.loads(text), dtype)
            yield line(array, text=f'{{"data": {text}, "dtype": "{dtype}"}}', decode_only=True)
    for spelling, array in spelled():
        if array.dtype.kind != "c":
            yield line(array, text=json.dumps({"data": array.tolist(), "dtype": spelling}), decode_only=True)
    for text, dtypes in [
        ("[1.0, 1e2, 0.0, -0.0, 12.5e1, 1200e-2]", ["|u1", "<i2", ">i4", "<u8", "<f8"]),
        ("[[1e3, -1E3], [9007199254740991.0, 2]]", ["<i8", ">i8"]),
        ("[[0, 1, true], [false, 1.0, 0e5]]", ["|b1"]),
    ]:
        for dtype in dtypes:
            array = np.array(json.loads(text)).astype(dtype)
            yield line(array, text=f'{{"data": {text}, "dtype": "{dtype}"}}', decode_only=True)


def json_binary_lines():
    for array in arrays():
        text64 = base64.b64encode(array.tobytes()).decode()
        message = {"buffer": text64, "dtype": array.dtype.str, "shape": list(array.shape)}
        yield line(array, text=json.dumps(message))
        if array.shape == (2, 3):
            for text in [
                json.dumps(message, separators=(",", ":")),
                json.dumps(dict(reversed(message.items()))),
                json.dumps({"id": [{}, []], **message}, indent=1),
                json.dumps(message).replace("/", "\\/"),
            ]:
                yield line(array, text=text, decode_only=True)
    for spelling, array in spelled():
        text64 = base64.b64encode(array.tobytes()).decode()
        text = json.dumps({"buffer": text64, "dtype": spelling, "shape": list(array.shape)})
        yield line(array, text=text, decode_only=True)


def cbor_tag(dtype):
    """The tag of RFC 8746: bits 010, float, signed, little-endian, and two for the size."""
    is_float = dtype.kind == "f"
    size = {1: 0, 2: 1, 4: 2, 8: 3}[dtype.itemsize] - is_float
    return 64 | is_float << 4 | (dtype.kind == "i") << 3 | (dtype.str[0] == "<") << 2 | size


def cbor_lines():
    for array in arrays():
        if array.dtype.kind in "bc":
            continue
        typed = cbor2.CBORTag(cbor_tag(array.dtype), array.tobytes())
        whole = cbor2.CBORTag(40, [list(array.shape), typed])
        yield line(array, body=cbor2.dumps(typed if array.ndim == 1 else whole).hex())
        if array.ndim == 1:
            yield line(array, body=cbor2.dumps(whole).hex(), decode_only=True)
        if array.shape == (2, 3):
            typed = cbor2.CBORTag(cbor_tag(array.dtype), array.tobytes(order="F"))
            columns = cbor2.CBORTag(1040, [list(array.shape), typed])
            yield line(array, body=cbor2.dumps(columns).hex(), decode_only=True)
            yield line(array, body=cbor2.dumps(cbor2.CBORTag(55799, whole)).hex(), decode_only=True)


def safetensors_lines():
    for array in arrays():
        if array.dtype.str[0] == ">" or array.dtype == np.complex128:
            continue
        yield line(array, body=safetensors.numpy.save({"array": array}).hex())
        if array.shape == (2, 3):
            body = safetensors.numpy.save({"array": array}, metadata={"id": "\u00e9\""})
            yield line(array, body=body.hex(), decode_only=True)


def arrow_message(array, names=None):
    sink = pyarrow.BufferOutputStream()
    tensor = pyarrow.Tensor.from_numpy(array, names) if names else pyarrow.Tensor.from_numpy(array)
    pyarrow.ipc.write_tensor(tensor, sink)
    return sink.getvalue().to_pybytes().hex()


def arrow_lines():
    for array in arrays():
        # pyarrow takes booleans for bytes, and numbers of any byte order for little-endian ones.
        if array.dtype.kind in "bc" or array.dtype.str[0] == ">":
            continue
        yield line(array, body=arrow_message(array))
        if array.shape in [(2, 3), (3, 2, 2)]:
            names = ["rows", "columns", "\u00e9"][: array.ndim]
            yield line(array, body=arrow_message(array, names), decode_only=True)


def main():
    DATA.mkdir(exist_ok=True)
    for lines in [npy_lines, msgpack_lines, protobuf_lines, protobuf_packed_lines, json_lines, json_binary_lines, cbor_lines, safetensors_lines, arrow_lines]:
        path = DATA / (lines.__name__.removesuffix("_lines") + ".jsonl")
        path.write_text("".join(json.dumps(entry) + "\n" for entry in lines()))
    (DATA / "dtypes.json").write_text(json.dumps(dtypes(), indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
