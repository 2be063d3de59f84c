"""Python client of the original benchmark. It measures its own time, with its encoding and decoding.

    client.py grpc://HOST:PORT --codec protobuf --points 8192 --parallel 1000
    client.py http://HOST:PORT --codec msgpack --points 8192 --parallel 1000

gRPC: futures of grpcio, all calls at once on one channel. REST: aiohttp with its default of 100 connections, all
requests at once. The name of a codec can contain the flavour of a server (`json:orjson`). The client always uses
the codecs of the original benchmark.

The clock runs from the encoding of the first array to the decoding of the last reply. It does not run while the
gRPC channel connects. After the clock has stopped, the client compares each reply with its array, bit for bit.

Prints one line of JSON. Exit status: 0 every reply was right, 1 a reply was wrong or failed, 2 wrong usage.
"""

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
import urllib.parse

import aiohttp
import grpc
import numpy as np

import contract
import messages
import seed

TIMEOUT_S = 600
CONNECT_TIMEOUT_S = 10
AIOHTTP_CONNECTIONS = 100  # aiohttp's own default


class Protobuf:
    decode = staticmethod(lambda body: messages.array(messages.NDArray.FromString(body)))
    encode = staticmethod(lambda array: messages.message(array).SerializeToString())


# Path and codec of each encoding.
REST_CODECS = {
    "json": ("/echo_json", seed.Json),
    "json_binary": ("/echo_json", seed.JsonBinary),
    "msgpack": ("/echo_msgpack", seed.Msgpack),
    "npy": ("/echo_npy", seed.Npy),
    "protobuf": ("/echo_protobuf", Protobuf),
}


def grpcio_futures(args, arrays):
    """Runs one round over gRPC. Returns its time in ns and, for each array, the reply or an exception."""
    options = messages.SIZE_OPTIONS + [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(args.address, options=options) for _ in range(args.connections or 1)]
    try:
        for channel in channels:
            grpc.channel_ready_future(channel).result(timeout=CONNECT_TIMEOUT_S)
    except grpc.FutureTimeoutError:
        return 0, [ConnectionError(f"no connection to {args.address} within {CONNECT_TIMEOUT_S} s")] * len(arrays)
    method = f"/{messages.SERVICE}/{messages.METHOD}"
    serializers = messages.NDArray.SerializeToString, messages.NDArray.FromString
    calls = itertools.cycle([channel.unary_unary(method, *serializers) for channel in channels])

    def decoded(future):
        try:
            return messages.array(future.result())
        except (grpc.RpcError, *contract.BAD_INPUT) as error:
            return error

    started = time.perf_counter_ns()
    futures = [next(calls).future(messages.message(array), timeout=TIMEOUT_S) for array in arrays]
    replies = [decoded(future) for future in futures]
    elapsed_ns = time.perf_counter_ns() - started
    for channel in channels:
        channel.close()
    return elapsed_ns, replies


def aiohttp_session(args, arrays):
    """Runs one round over REST. Returns the same as `grpcio_futures`."""
    return asyncio.run(aiohttp_round(args, arrays))


async def aiohttp_round(args, arrays):
    path, codec = REST_CODECS[args.encoding]

    async def exchange(session, array):
        async with session.post(args.url + path, data=codec.encode(array)) as response:
            body = await response.read()
            if response.status != 200:
                raise ValueError(f"status {response.status}: {body[:200]!r}")
            return codec.decode(body)

    connector = aiohttp.TCPConnector(limit=args.connections or AIOHTTP_CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        started = time.perf_counter_ns()
        replies = await asyncio.gather(*(exchange(session, array) for array in arrays), return_exceptions=True)
        return time.perf_counter_ns() - started, replies


def fault(sent, reply):
    """Returns the difference between an array and its reply, or None."""
    if isinstance(reply, Exception):
        return f"{reply.code().name}: {reply.details()}" if isinstance(reply, grpc.RpcError) else contract.reason(reply)
    if (reply.dtype, reply.shape) != (sent.dtype, sent.shape):
        return f"sent {sent.dtype.str} {sent.shape}, got {reply.dtype.str} {reply.shape}"
    if reply.tobytes() != sent.tobytes():
        return f"the reply's bytes differ from those sent, {sent.dtype.str} {sent.shape}"
    return None


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url", help="grpc://HOST:PORT or http://HOST:PORT")
    parser.add_argument("--codec", default="protobuf", help=", ".join(REST_CODECS))
    parser.add_argument("--points", type=positive, default=8192, help="doubles in [0, 1) in each array")
    parser.add_argument("--array", metavar="FILE.npy", help="sends this array with every request")
    parser.add_argument("--parallel", type=positive, default=1000, help="requests of a round, all at once")
    parser.add_argument("--rounds", type=positive, default=1, help="one after the other, on new connections")
    parser.add_argument("--connections", type=positive, help="gRPC channels [1], REST connections [100]")
    parser.add_argument("--cpu", type=int, help="core for all threads")
    parser.add_argument("--seed", type=int, default=1, help="of the arrays")
    args = parser.parse_args()
    url = urllib.parse.urlsplit(args.url)
    args.scheme, args.address, args.encoding = url.scheme, url.netloc, args.codec.partition(":")[0]
    if args.scheme not in ("grpc", "http") or not url.port or url.path:
        parser.error(f"{args.url}: expected grpc://HOST:PORT or http://HOST:PORT")
    if args.encoding not in (["protobuf"] if args.scheme == "grpc" else REST_CODECS):
        parser.error(f"--codec {args.codec}: not over {args.scheme}")
    return args


def positive(text):
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("expected 1 or more")
    return number


def arrays_of(args):
    """Returns the arrays of a round: different random ones, or the given one each time."""
    if args.array:
        return [np.load(args.array, allow_pickle=False)] * args.parallel
    return list(np.random.default_rng(args.seed).random((args.parallel, args.points)))


def main():
    args = arguments()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    name, run = {"grpc": ("grpcio futures", grpcio_futures), "http": ("aiohttp", aiohttp_session)}[args.scheme]
    arrays = arrays_of(args)
    elapsed_ns, faults = 0, []
    for _ in range(args.rounds):
        round_ns, replies = run(args, arrays)
        elapsed_ns += round_ns
        faults += [found for sent, reply in zip(arrays, replies, strict=True) if (found := fault(sent, reply))]
    report = {
        "client": name,
        "requests": args.parallel * args.rounds,
        "elapsed_ns": elapsed_ns,
        "failed": len(faults),
        "first_failure": faults[0] if faults else None,
        "array_bytes": arrays[0].nbytes,
    }
    print(json.dumps(report))
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
