"""Tests a server of the contract with grpcio, synchronous and asyncio.

Usage: grpc_client.py HOST:PORT PROTO_DIR [--large-mib 64] [--large-parallel 1000] [--malformed STATUS ..]
       [--authority NAME] [--gzip]
--large-parallel: concurrent calls of 64 KiB. Lower it for a server that fails with more.
--authority: :authority of the calls; over a Unix socket, grpcio sends the escaped path, which
the h2 crate refuses.
--gzip: the server has gzip and no deflate.
--malformed: accepted status for a message that is not protobuf. Frameworks differ.
Prints one line for each passed check. The first failed check is an exception with exit status 1.
"""

import argparse
import asyncio

import grpc
import numpy as np

import arrays

OPTIONS = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]


def every_array(stub, codec):
    count = 0
    for array in arrays.arrays():
        arrays.same(codec.array(stub.Echo(codec.message(array), timeout=30)), array)
        count += 1
    print(f"grpcio: {count} arrays, every dtype and shape")


def parallel(stub, codec, large):
    for points, calls in ((1, 1000), (256, 1000), (8192, large)):
        rng = np.random.default_rng(points)
        sent = [rng.random(points) for _ in range(calls)]
        futures = [stub.Echo.future(codec.message(array), timeout=120) for array in sent]
        for array, future in zip(sent, futures):
            arrays.same(codec.array(future.result()), array)
        print(f"grpcio: {calls} parallel calls of {points} points on one channel")


def large(stub, codec, mib):
    array = np.random.default_rng(mib).random(mib * 131072)
    arrays.same(codec.array(stub.Echo(codec.message(array), timeout=300)), array)
    print(f"grpcio: {mib} MiB")


def compressed(target, services, codec):
    def connect(compression):
        return grpc.insecure_channel(target, options=OPTIONS, compression=compression)

    count = 0
    with connect(grpc.Compression.Gzip) as channel:
        echo = services.CalculatorStub(channel).Echo
        for array in [*arrays.arrays(), np.zeros(1 << 20), np.random.default_rng(1).random(100000)]:
            arrays.same(codec.array(echo(codec.message(array), timeout=60)), array)
            count += 1
    print(f"grpcio: {count} arrays in gzip")
    with connect(grpc.Compression.Deflate) as channel:
        try:
            services.CalculatorStub(channel).Echo(codec.message(np.zeros(100)), timeout=60)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.UNIMPLEMENTED:
                raise
        else:
            raise AssertionError("deflate was accepted")
    print("grpcio: deflate is refused")


def refusals(channel, stub, messages, malformed_codes):
    def status(call):
        try:
            call()
        except grpc.RpcError as error:
            return error.code(), error.details()
        raise AssertionError("accepted")

    def expect(call, code, word):
        got, details = status(call)
        if got != code or word not in details:
            raise AssertionError(f"expected {code} with {word!r}, got {got} {details!r}")

    bad = [
        (messages.NDArray(buffer=b"1234567", dtype="<f8", shape=[1]), "8"),
        (messages.NDArray(buffer=b"12345678", dtype="|O", shape=[1]), "|O"),
        (messages.NDArray(buffer=b"", dtype="<f8", shape=[2**32, 2**32]), "overflow"),
    ]
    for message, word in bad:
        expect(lambda: stub.Echo(message, timeout=10), grpc.StatusCode.INVALID_ARGUMENT, word)
    unknown = channel.unary_unary("/Calculator/Nothing")
    expect(lambda: unknown(b"", timeout=10), grpc.StatusCode.UNIMPLEMENTED, "")
    malformed = channel.unary_unary("/Calculator/Echo")
    # The wire type of field 1 is wrong. tonic answers INTERNAL, our servers INVALID_ARGUMENT.
    code, _ = status(lambda: malformed(b"\x0b\xff", timeout=10))
    if code.name not in malformed_codes:
        raise AssertionError(f"malformed protobuf: {code}")
    print("grpcio: refusals carry their status and a reason")


async def asyncio_client(target, messages, services, codec):
    async with grpc.aio.insecure_channel(target, options=OPTIONS) as channel:
        stub = services.CalculatorStub(channel)
        sent = [np.random.default_rng(i).random(256) for i in range(1000)]
        replies = await asyncio.gather(*(stub.Echo(codec.message(array), timeout=120) for array in sent))
        for array, reply in zip(sent, replies):
            arrays.same(codec.array(reply), array)
    print("grpcio-aio: 1000 parallel calls on one channel")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target")
    parser.add_argument("proto_dir")
    parser.add_argument("--large-mib", type=int, default=64)
    parser.add_argument("--large-parallel", type=int, default=1000)
    parser.add_argument("--malformed", nargs="+", default=["INVALID_ARGUMENT", "INTERNAL"])
    parser.add_argument("--authority")
    parser.add_argument("--gzip", action="store_true")
    args = parser.parse_args()
    if args.authority:
        OPTIONS.append(("grpc.default_authority", args.authority))
    messages, services = arrays.contract(args.proto_dir)
    codec = arrays.protobuf(messages)
    with grpc.insecure_channel(args.target, options=OPTIONS) as channel:
        stub = services.CalculatorStub(channel)
        every_array(stub, codec)
        parallel(stub, codec, args.large_parallel)
        large(stub, codec, args.large_mib)
        refusals(channel, stub, messages, args.malformed)
    if args.gzip:
        compressed(args.target, services, codec)
    asyncio.run(asyncio_client(args.target, messages, services, codec))


if __name__ == "__main__":
    main()
