"""Sends messages PackedArray that are no arrays to a server of the contract, with grpcio.

Usage: packed_refusals.py HOST:PORT
The environment of the Python servers has the class of the message. Prints one line if each call fails with
INVALID_ARGUMENT and names its fault, and an array is answered afterwards; else the exit status is 1.
"""

import pathlib
import sys

import grpc

sys.path.append(str(pathlib.Path(sys.prefix) / "contract"))

import packed_pb2 as packed  # noqa: E402

INTS = packed.Int32s
PackedArray = packed.PackedArray

# Messages, each with a word of the reason.
REFUSED = [
    (PackedArray(dtype="", shape=[1]), "dtype"),
    (PackedArray(dtype="|O", shape=[1], doubles=packed.Doubles(values=[1])), "|O"),
    (PackedArray(dtype="<f2", shape=[1], floats=packed.Floats(values=[1])), "<f2"),
    (PackedArray(dtype="<c16", shape=[1], doubles=packed.Doubles(values=[1, 2])), "<c16"),
    (PackedArray(dtype="<f8", shape=[1], floats=packed.Floats(values=[1])), "doubles"),
    (PackedArray(dtype="<f8", shape=[2], doubles=packed.Doubles(values=[1])), "16"),
    (PackedArray(dtype="<f8", shape=[1]), "8"),
    (PackedArray(dtype="<f8", shape=[2**32, 2**32]), "overflow"),
    (PackedArray(dtype="|i1", shape=[1], int32s=INTS(values=[128])), "range"),
    (PackedArray(dtype=">i2", shape=[2], int32s=INTS(values=[0, -32769])), "range"),
    (PackedArray(dtype="|u1", shape=[1], uint32s=packed.UInt32s(values=[256])), "range"),
]


def main():
    with grpc.insecure_channel(sys.argv[1]) as channel:
        echo = channel.unary_unary("/Calculator/Echo", PackedArray.SerializeToString, PackedArray.FromString)
        for message, word in REFUSED:
            try:
                echo(message, timeout=30)
            except grpc.RpcError as error:
                if error.code() != grpc.StatusCode.INVALID_ARGUMENT or word not in error.details():
                    sys.exit(f"{message}: expected INVALID_ARGUMENT with {word!r}, got {error.code()} {error.details()!r}")
            else:
                sys.exit(f"{message}: accepted")
        sent = PackedArray(dtype=">i2", shape=[2], int32s=INTS(values=[-32768, 32767]))
        if echo(sent, timeout=30) != sent:
            sys.exit("an array after the refusals comes back changed")
    print(f"grpcio: {len(REFUSED)} messages are refused with a reason")


if __name__ == "__main__":
    main()
