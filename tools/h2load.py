#!/usr/bin/env python3
"""Compares uring-server and tonic-server under h2load, a client that nobody here wrote: CPU per request, and its ratio.

Usage: tools/h2load.py [--rounds 5] [--cases 8x1000,2KiBx1000,64KiBx64,1MiBx8,16MiBx1] [--server NAME=COMMAND ...]

Each round runs every server once, in a fresh process on core 0 and in a random order, with h2load on core 1. Ratios are
taken within a round; the table gives medians. Run `cargo build --release` first. Needs h2load (package
nghttp2-client) and Linux.
"""

import argparse
import os
import random
import re
import signal
import statistics
import struct
import subprocess
import tempfile
import time

SERVERS = {
    "tonic": "target/release/tonic-server --cpu 0 --grpc 127.0.0.1:0 --rest 127.0.0.1:0",
    "uring": "target/release/uring-server --cpu 0 --grpc 127.0.0.1:0 --rest 127.0.0.1:0",
}
UNITS = {"": 1, "KiB": 1024, "MiB": 1024 * 1024}


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def message(size):
    """Returns a gRPC message of NDArray{buffer: `size` bytes, dtype: "<f8", shape: [size / 8]}."""
    shape = varint(size // 8)
    body = b"\x0a" + varint(size) + random.Random(size).randbytes(size)
    body += b"\x12\x03<f8" + b"\x1a" + varint(len(shape)) + shape
    return struct.pack(">BI", 0, len(body)) + body


def cpu_ns(pid):
    """Returns the CPU time of a process with its exited threads, by its CPUCLOCK_SCHED clock."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def start(command):
    server = subprocess.Popen(command.split(), stdout=subprocess.PIPE, text=True)
    ready = server.stdout.readline()
    found = re.search(r"(?:grpc=|ready )(\d\S*:\d+)", ready)
    if not found:
        raise SystemExit(f"{command}: not ready: {ready!r}")
    return server, found.group(1)


def h2load(address, file, requests, streams):
    output = subprocess.run(
        ["taskset", "-c", "1", "h2load", "-n", str(requests), "-c", "1", "-m", str(streams), "-w", "24", "-W", "26"]
        + ["-d", file, "-H", "content-type: application/grpc", "-H", "te: trailers"]
        + [f"http://{address}/Calculator/Echo"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if f"{requests} succeeded" not in output:
        raise SystemExit(output)
    # h2load checks only the HTTP status; the number of DATA bytes shows that every reply was complete.
    data = int(re.search(r"\((\d+)\) data", output).group(1))
    if data != requests * os.path.getsize(file):
        raise SystemExit(f"replies have {data} bytes, expected {requests * os.path.getsize(file)}\n{output}")
    return float(re.search(r"finished in .*?, ([\d.]+) req/s", output).group(1))


def measure(command, file, requests, streams):
    server, address = start(command)
    try:
        h2load(address, file, max(streams, requests // 10), streams)
        before = cpu_ns(server.pid)
        rate = h2load(address, file, requests, streams)
        return (cpu_ns(server.pid) - before) / requests, rate
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def case(text):
    size, unit, streams = re.fullmatch(r"(\d+)(|KiB|MiB)x(\d+)", text).groups()
    return text, int(size) * UNITS[unit], int(streams)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", default="8x1000,2KiBx1000,64KiBx64,1MiBx8,16MiBx1")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=COMMAND")
    args = parser.parse_args()
    servers = SERVERS | dict(entry.split("=", 1) for entry in args.server)

    print(f"{'case':>12} {'server':>12} {'CPU us/request':>15} {'to tonic':>9} {'range':>13} {'requests/s':>11}")
    for name, size, streams in map(case, args.cases.split(",")):
        requests = max(4 * streams, min(200_000, 400_000_000 // (size + 2000)))
        rounds = []
        with tempfile.NamedTemporaryFile() as file:
            file.write(message(size))
            file.flush()
            for _ in range(args.rounds):
                order = random.sample(sorted(servers), len(servers))
                rounds.append({key: measure(servers[key], file.name, requests, streams) for key in order})
        for key in servers:
            ratios = [run[key][0] / run["tonic"][0] for run in rounds]
            cpu = statistics.median(run[key][0] for run in rounds) / 1000
            rate = statistics.median(run[key][1] for run in rounds)
            spread = f"{min(ratios):.3f}-{max(ratios):.3f}"
            print(f"{name:>12} {key:>12} {cpu:15.2f} {statistics.median(ratios):9.3f} {spread:>13} {rate:11.0f}", flush=True)


if __name__ == "__main__":
    main()
