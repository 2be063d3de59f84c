#!/usr/bin/env python3
"""Times the codecs of the external Python servers as library calls, without a server.

    ENV/bin/python tools/codec_bench.py [--sizes 8,2048,65536] [--codecs json,json:orjson] [--arrays f8,i8-wide]
        [--rounds 7] [--cpu N] [--csv]

ENV is the environment of the Python servers (tools/external/README.md). `json` and similar names are the codecs of
numpy_rpc_benchmark, `json:orjson` and similar ones use the best Python libraries. Both make the checks that the
contract requires, as the servers do. Each case is checked once before it is timed. A figure is the median of rounds,
in ns of CPU per call; all codecs of a size take turns in each round, so that a busy machine disturbs them alike. MB/s
count the bytes of the array, not of the message. Use --cpu to pin the process to a core.
"""

import argparse
import csv
import itertools
import os
import pathlib
import statistics
import sys
import time

import numpy as np

sys.path.append(str(pathlib.Path(__file__).resolve().parent / "external"))
import fast
import messages
import packed
import seed

CALL_TIME_NS = 20_000_000  # of one case in one round, unless a single call takes longer
SIZES = [8, 2 << 10, 64 << 10, 1 << 20, 16 << 20]


class Protobuf:
    decode = staticmethod(lambda body: messages.array(messages.NDArray.FromString(body)))
    encode = staticmethod(lambda array: messages.message(array).SerializeToString())


class ProtobufPacked:
    decode = staticmethod(lambda body: packed.array(packed.PackedArray.FromString(body)))
    encode = staticmethod(lambda array: packed.message(array).SerializeToString())


CODECS = {
    "protobuf": Protobuf,
    "protobuf_packed": ProtobufPacked,
    "msgpack": seed.Msgpack,
    "msgpack:msgspec": fast.Msgpack,
    "npy": seed.Npy,
    "json_binary": seed.JsonBinary,
    "json_binary:pybase64": fast.JsonBinary,
    "json": seed.Json,
    "json:orjson": fast.Json,
}

# Name -> array of that many bytes. The cost of a list of numbers depends on the numbers.
ARRAYS = {
    "f8": lambda rng, size: rng.random(size // 8),
    "f8-normal": lambda rng, size: rng.standard_normal(size // 8),
    "f8-decimals": lambda rng, size: rng.integers(0, 100_000, size // 8) / 100,
    "i8-narrow": lambda rng, size: rng.integers(0, 1000, size // 8),
    "i8-wide": lambda rng, size: rng.integers(-(2**62), 2**62, size // 8),
    "u1": lambda rng, size: rng.integers(0, 256, size, dtype="|u1"),
    "f4": lambda rng, size: rng.random(size // 4, dtype="<f4"),
}
WORK = ["decode", "encode", "echo"]


def calls(codec, array):
    """Returns work -> a checked call without arguments."""
    body = codec.encode(array)
    back = codec.decode(body)
    again = codec.decode(codec.encode(back))
    for got in (back, again):
        if (got.dtype, got.shape, got.tobytes()) != (array.dtype, array.shape, array.tobytes()):
            raise AssertionError(f"{codec.__module__}.{codec.__name__} changes {array.dtype.str} {array.shape}")
    return {
        "decode": lambda: codec.decode(body),
        "encode": lambda: codec.encode(back),
        "echo": lambda: codec.encode(codec.decode(body)),
    }


def time_ns(call, count):
    """Returns the ns of CPU of one call in a run of `count`."""
    started = time.thread_time_ns()
    for _ in itertools.repeat(None, count):
        call()
    return (time.thread_time_ns() - started) / count


def measure(codecs, array, rounds):
    """Returns (codec, work) -> median ns per call, with the codecs in turns."""
    cases = {(name, work): call for name in codecs for work, call in calls(CODECS[name], array).items()}
    counts = {case: max(1, int(CALL_TIME_NS / max(1, time_ns(call, 1)))) for case, call in cases.items()}
    samples = {case: [] for case in cases}
    for _ in range(rounds):
        for case, call in cases.items():
            samples[case].append(time_ns(call, counts[case]))
    return {case: statistics.median(times) for case, times in samples.items()}


def rows(args):
    """Yields one row per array, size and codec: (array, bytes, codec, {work: ns})."""
    for name, size in itertools.product(args.arrays, args.sizes):
        array = ARRAYS[name](np.random.default_rng(1), size)
        found = measure(args.codecs, array, args.rounds)
        for codec in args.codecs:
            yield name, array.nbytes, codec, {work: found[codec, work] for work in WORK}


def print_csv(args):
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["array", "bytes", "codec", "decode_ns", "encode_ns", "echo_ns"])
    for name, size, codec, times in rows(args):
        writer.writerow([name, size, codec, *(round(times[work], 1) for work in WORK)])
        sys.stdout.flush()


def print_table(args):
    heading = None
    for name, size, codec, times in rows(args):
        if (name, size) != heading:
            heading = name, size
            columns = "".join(f"{work + ' ns':>15}{'MB/s':>9}" for work in WORK)
            print(f"\n{name}, {size} bytes\n  {'codec':<22}{columns}")
        figures = "".join(f"{times[work]:>15,.0f}{size / times[work] * 1000:>9,.1f}" for work in WORK)
        print(f"  {codec:<22}{figures}", flush=True)


def names_from(known):
    def parse(text):
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is not one of {', '.join(known)}")
        return names

    return parse


def sizes(text):
    found = [int(size) for size in text.split(",")]
    if any(size < 8 or size % 8 for size in found):
        raise argparse.ArgumentTypeError("expected multiples of 8, in bytes")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=sizes, default=SIZES, help="bytes of an array, separated by commas")
    parser.add_argument("--codecs", type=names_from(CODECS), default=list(CODECS), help=", ".join(CODECS))
    parser.add_argument("--arrays", type=names_from(ARRAYS), default=list(ARRAYS), help=", ".join(ARRAYS))
    parser.add_argument("--rounds", type=int, default=7, help="rounds per figure, which is their median")
    parser.add_argument("--cpu", type=int, help="core to run on")
    parser.add_argument("--csv", action="store_true", help="ns per call as CSV in place of the table")
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    (print_csv if args.csv else print_table)(args)


if __name__ == "__main__":
    main()
