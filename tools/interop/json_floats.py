"""Tests the JSON lists of a server of the contract: the reply must equal the request, byte for byte.

Usage: json_floats.py http://HOST:PORT [--count 10000000]
Sends the text of `json.dumps`. The server must read and write every double like Python's `repr`: random bits,
uniform, of all magnitudes, short, widened from f4, whole.
Prints one line for each sort of doubles. The first difference is an exception with exit status 1.
"""

import argparse
import http.client
import json
import math
import random
import struct
import urllib.parse

LIST = 10_000


def of_bits(rng, count):
    values = struct.unpack(f"<{count}d", rng.randbytes(8 * count))
    return [value if math.isfinite(value) else 0.5 for value in values]


def of_f4_bits(rng, count):
    values = struct.unpack(f"<{count}f", rng.randbytes(4 * count))
    return [value if math.isfinite(value) else 0.5 for value in values]


SORTS = {
    "of any bits": of_bits,
    "from 0 to 1": lambda rng, count: [rng.random() for _ in range(count)],
    "normal, times 100": lambda rng, count: [100 * rng.gauss(0, 1) for _ in range(count)],
    "of all sizes below 10^17": lambda rng, count: [
        math.ldexp(rng.uniform(-1e17, 1e17), -rng.randrange(80)) for _ in range(count)
    ],
    "with two decimals": lambda rng, count: [round(rng.uniform(-1e4, 1e4), 2) for _ in range(count)],
    "widened from f4": of_f4_bits,
    "whole": lambda rng, count: [float(rng.getrandbits(rng.randrange(1, 64))) for _ in range(count)],
}


def echo(connection, values):
    body = json.dumps({"data": values, "dtype": "<f8"}).encode()
    connection.request("POST", "/echo_json", body)
    response = connection.getresponse()
    reply = response.read()
    if response.status != 200:
        raise AssertionError(f"{response.status} {reply!r}")
    if reply != body:
        sent, got = body.decode().split(", "), reply.decode().split(", ")
        first = next((pair for pair in zip(sent, got) if pair[0] != pair[1]), "one is longer")
        raise AssertionError(f"{first} in a list of {len(values)}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("url")
    parser.add_argument("--count", type=int, default=10_000_000, help="doubles in all")
    args = parser.parse_args()
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(args.url).netloc)
    lists = -(-args.count // (LIST * len(SORTS)))
    for name, draw in SORTS.items():
        rng = random.Random(name)
        for _ in range(lists):
            echo(connection, draw(rng, LIST))
        print(f"{lists * LIST} doubles {name}: text and bits are Python's")


if __name__ == "__main__":
    main()
