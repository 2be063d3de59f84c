"""Tests a server of the contract with two REST clients: aiohttp, as in the original benchmark, and requests.

Usage: rest_client.py http://HOST:PORT PROTO_DIR [--large-mib 64] [--library-json] [--codecs Json,Msgpack]
--library-json: the server has the JSON codec of a library, which refuses NaN and infinities.
--codecs: only these codecs, for a server without the others. Every server must have Npy.
Prints one line for each passed check. The first failed check is an exception with exit status 1.
"""

import argparse
import asyncio

import aiohttp
import numpy as np
import requests

import arrays

# A busy machine may need long for arrays of every dtype and shape at once, also to connect.
TIMEOUT = aiohttp.ClientTimeout(total=300, sock_connect=300)


def codecs(proto_dir):
    messages, _ = arrays.contract(proto_dir)
    return [arrays.Json, arrays.JsonBinary, arrays.Msgpack, arrays.Npy, arrays.Reflect, arrays.protobuf(messages)]


async def post(session, url, codec, array):
    # The client of the original benchmark sends no content type. The path names the codec.
    async with session.post(url + codec.path, data=codec.encode(array)) as response:
        body = await response.read()
        if response.status != 200:
            raise AssertionError(f"{codec.__name__}: {response.status} {body!r}")
        if response.headers["content-type"] != codec.content_type:
            raise AssertionError(f"{codec.__name__}: content type {response.headers['content-type']!r}")
        arrays.same(codec.decode(body), array)


async def every_array(url, codec, finite):
    count = 0
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        for array in arrays.arrays():
            if not codec.carries(array):
                continue
            if finite and codec is arrays.Json and not np.isfinite(array).all():
                continue
            if codec is arrays.Json and array.size == 0 and array.shape != np.array(array.tolist()).shape:
                continue  # a nested list has no dimensions inside an empty one
            await post(session, url, codec, array)
            count += 1
    print(f"aiohttp {codec.__name__}: {count} arrays, every dtype and shape it carries")


async def parallel(url, codec):
    for points in (1, 256, 8192):
        sent = [np.random.default_rng(i).random(points) for i in range(1000)]
        async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
            await asyncio.gather(*(post(session, url, codec, array) for array in sent))
    print(f"aiohttp {codec.__name__}: 1000 parallel requests at 1, 256 and 8192 points")


async def large(url, codec, mib):
    array = np.random.default_rng(mib).random(mib * 131072)
    async with aiohttp.ClientSession(timeout=TIMEOUT) as session:
        await post(session, url, codec, array)
    print(f"aiohttp {codec.__name__}: {mib} MiB")


def with_requests(url, codec):
    array = np.arange(24.0).reshape(2, 3, 4)
    with requests.Session() as session:
        for _ in range(3):
            response = session.post(url + codec.path, data=codec.encode(array), timeout=30)
            response.raise_for_status()
            arrays.same(codec.decode(response.content), array)
    print(f"requests {codec.__name__}: kept alive")


def chunked(url):
    array = np.arange(10000.0)
    body = arrays.Npy.encode(array)
    pieces = (body[at : at + 777] for at in range(0, len(body), 777))
    response = requests.post(url + "/echo_npy", data=pieces, timeout=30)
    response.raise_for_status()
    arrays.same(arrays.Npy.decode(response.content), array)
    print("requests: a chunked upload")


def fortran(url):
    array = np.asfortranarray(np.arange(24.0).reshape(2, 3, 4))
    response = requests.post(url + "/echo_npy", data=arrays.Npy.encode(array), timeout=30)
    response.raise_for_status()
    got = arrays.Npy.decode(response.content)
    if got.shape != array.shape or not np.array_equal(got, array):
        raise AssertionError(f"Fortran order: got {got!r}")
    print("requests: a Fortran-order .npy")


def refusals(url):
    cases = [
        ("POST", "/nothing", b"", 404),
        ("GET", "/echo_npy", None, 405),
        ("POST", "/echo_json", b'{"data": [1, [2]], "dtype": "<f8"}', 400),
        ("POST", "/echo_json", b'{"data": [null], "dtype": "<f8"}', 400),
        ("POST", "/echo_json", b'{"buffer": "AAAA", "dtype": "|O", "shape": [1]}', 400),
        ("POST", "/echo_msgpack", b"\xc1", 400),
        ("POST", "/echo_npy", b"\x93NUMPY", 400),
    ]
    for method, path, body, want in cases:
        response = requests.request(method, url + path, data=body, timeout=10)
        if response.status_code != want or not response.text.strip():
            raise AssertionError(f"{method} {path} {body!r}: {response.status_code} {response.text!r}, expected {want}")
    print("requests: refusals carry their status and a reason")


async def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("proto_dir")
    parser.add_argument("--large-mib", type=int, default=64)
    parser.add_argument("--library-json", action="store_true")
    parser.add_argument("--codecs", type=lambda text: text.split(","))
    args = parser.parse_args()
    for codec in codecs(args.proto_dir):
        if args.codecs and codec.__name__ not in args.codecs:
            continue
        await every_array(args.url, codec, args.library_json)
        await parallel(args.url, codec)
        await large(args.url, codec, args.large_mib)
        with_requests(args.url, codec)
    chunked(args.url)
    fortran(args.url)
    refusals(args.url)


if __name__ == "__main__":
    asyncio.run(main())
