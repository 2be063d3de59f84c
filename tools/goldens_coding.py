#!/usr/bin/env python3
"""Makes tests/data/coding.jsonl: messages in the codings of Python's gzip and zlib, zstandard and lz4.

    python3 -m venv DIR && DIR/bin/pip install -r tools/requirements-goldens.txt
    DIR/bin/python tools/goldens_coding.py

One message per line: its coding, the item size of its shuffle (or 1), the bytes before (`raw`) and after (`body`) in
hex. With the pinned versions every run gives the same file.
"""

import gzip
import io
import json
import pathlib
import zlib

import lz4.frame
import numpy as np
import zstandard

DATA = pathlib.Path(__file__).resolve().parent.parent / "tests" / "data"


def messages():
    """Yields messages that compress well, a little, and not at all, of lengths around an item."""
    rng = np.random.default_rng(1)
    yield b""
    yield b"a"
    yield bytes(3000)
    yield np.sin(np.arange(300) / 40).astype("<f4").tobytes()
    yield rng.integers(900, 1100, 500).astype("<u2").tobytes() + b"tail"
    yield rng.random(40).tobytes()


def shuffled(message, size):
    """The byte shuffle of Blosc and HDF5; what is left of an item stays at the end."""
    items = len(message) // size * size
    planes = np.frombuffer(message[:items], np.uint8).reshape(-1, size).T
    return planes.tobytes() + message[items:]


def gzips(raw):
    for level in [1, 6, 9]:
        yield gzip.compress(raw, level, mtime=0)
    with_name = io.BytesIO()
    with gzip.GzipFile("array.npy", "wb", fileobj=with_name, mtime=7) as file:
        file.write(raw)
    yield with_name.getvalue()
    stored = zlib.compressobj(0, zlib.DEFLATED, 31)
    yield stored.compress(raw) + stored.flush()
    yield gzip.compress(raw[:5], mtime=0) + gzip.compress(raw[5:], mtime=0)


def zstds(raw):
    for level in [-5, 3, 19]:
        yield zstandard.ZstdCompressor(level=level, write_checksum=level == 3).compress(raw)
    stream = zstandard.ZstdCompressor(write_content_size=False).compressobj()
    yield stream.compress(raw) + stream.flush()
    skippable = b"\x50\x2a\x4d\x18\x03\0\0\0abc"
    yield skippable + zstandard.ZstdCompressor().compress(raw)


def lz4s(raw):
    for block_size in [lz4.frame.BLOCKSIZE_MAX64KB, lz4.frame.BLOCKSIZE_MAX4MB]:
        for is_linked in [False, True]:
            options = dict(block_size=block_size, block_linked=is_linked, content_checksum=is_linked)
            yield lz4.frame.compress(raw, store_size=not is_linked, **options)


def lines():
    for raw in messages():
        coded = [("gzip", 1, body) for body in gzips(raw)]
        coded += [("zstd", 1, body) for body in zstds(raw)]
        coded += [("lz4", 1, body) for body in lz4s(raw)]
        for size in [1, 2, 4, 8, 16]:
            body = bytes([size]) + zstandard.ZstdCompressor().compress(shuffled(raw, size))
            coded.append(("shuffle-zstd", size, body))
        for coding, size, body in coded:
            yield {"coding": coding, "item_size": size, "raw": raw.hex(), "body": body.hex()}


if __name__ == "__main__":
    (DATA / "coding.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines()))
