#!/usr/bin/env python3
"""Prints the user memory of a server for each of 10,000 connections, as a Markdown table.

    tools/connections.py [--connections 10000] [RUNG...]

Every connection is opened, then has one request answered, then is idle again. Memory is the resident set of the server
over that of the same server after one request, divided by the number of connections. Memory of the kernel for sockets
is not in it. Needs `cargo build --release` and twice as many descriptors as connections (`ulimit -n`).
"""

import argparse
import os
import pathlib
import resource
import signal
import socket
import struct
import subprocess
import sys
import time

NDECHO = str(pathlib.Path(__file__).resolve().parent.parent / "target/release/ndecho")
RUNGS = ("uring/h1/npy", "tokio/h1/npy", "tokio/hyper/npy", "tokio/axum/npy", "uring/h2/protobuf", "tokio/h2/protobuf",
         "tokio/h2-crate/protobuf", "tokio/tonic/protobuf:prost")
ARRAY = b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n" + bytes(8)
REST = b"POST /echo_npy HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(ARRAY) + ARRAY
MESSAGE = b"\x0a\x08" + bytes(8) + b"\x12\x03<f8" + b"\x1a\x01\x01"
END_STREAM, END_HEADERS, ACK = 1, 4, 1
DATA, HEADERS, SETTINGS = 0, 1, 4


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """A field of a header block that enters no table. `name` is the number of a name in the static table, or a name."""
    start = bytes([name]) if isinstance(name, int) and name < 15 else None
    start = start or (bytes([15, name - 15]) if isinstance(name, int) else bytes([0, len(name)]) + name)
    return start + bytes([len(value)]) + value


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(SETTINGS, 0, 0, b"")
BLOCK = b"\x83\x86" + literal(4, b"/Calculator/Echo") + literal(1, b"a") + literal(31, b"application/grpc") + \
    literal(b"te", b"trailers")
GRPC = frame(HEADERS, END_HEADERS, 1, BLOCK) + frame(DATA, END_STREAM, 1, b"\0" + struct.pack(">I", len(MESSAGE)) + MESSAGE)


def exactly(client, count):
    data = b""
    while len(data) < count:
        more = client.recv(count - len(data))
        if not more:
            sys.exit("the server ended a connection")
        data += more
    return data


def call_grpc(client):
    client.sendall(GRPC)
    while True:
        head = exactly(client, 9)
        payload = exactly(client, int.from_bytes(head[:3], "big"))
        if head[3] == SETTINGS and not head[4] & ACK:
            client.sendall(frame(SETTINGS, ACK, 0, b""))
        if head[3] == HEADERS and head[4] & END_STREAM:
            return
        if head[3] == DATA and MESSAGE not in payload:
            sys.exit(f"the reply is {payload!r}, expected {MESSAGE!r}")


def call_rest(client):
    client.sendall(REST)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += exactly(client, 1)
    if exactly(client, len(ARRAY)) != ARRAY:
        sys.exit("the reply is another array")


class Server:
    def __init__(self, rung, connections):
        command = [NDECHO, "serve", rung, "--addr", "127.0.0.1:0", "--cpu", "0", "--max-connections",
                   str(connections + 10)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        host, port = self.process.stdout.readline().split()[1].split("=")[-1].rsplit(":", 1)
        self.address = host, int(port)

    def connect(self):
        return socket.create_connection(self.address, timeout=60)

    def memory(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024

    def wait_for(self, connections):
        for _ in range(600):
            if len(os.listdir(f"/proc/{self.process.pid}/fd")) > connections:
                return
            time.sleep(0.1)
        sys.exit(f"the server did not accept {connections} connections in a minute")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def measure(rung, connections):
    """Returns the bytes of a connection: open, after a request on each, and two seconds later."""
    call, preface = (call_grpc, PREFACE) if "protobuf" in rung else (call_rest, b"")
    server = Server(rung, connections)
    try:
        with server.connect() as client:
            client.sendall(preface)
            call(client)
        base = server.memory()
        clients = []
        for _ in range(connections):
            client = server.connect()
            client.sendall(preface)
            clients.append(client)
        server.wait_for(connections)
        figures = [server.memory()]
        for client in clients:
            call(client)
        figures.append(server.memory())
        time.sleep(2)
        figures.append(server.memory())
        for client in clients:
            client.close()
        return [(figure - base) / connections for figure in figures]
    finally:
        server.end()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("rungs", nargs="*", default=RUNGS)
    options = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if options.connections + 100 > hard:
        sys.exit(f"{options.connections} connections need more descriptors than {hard}; raise `ulimit -Hn`")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print("| rung | open | after one request | 2 s later |\n|---|---:|---:|---:|")
    for rung in options.rungs:
        cells = " | ".join(f"{figure / 1024:.2f} KiB" for figure in measure(rung, options.connections))
        print(f"| `{rung}` | {cells} |", flush=True)


if __name__ == "__main__":
    main()
