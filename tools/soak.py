#!/usr/bin/env python3
"""Loads a server for long, with honest and hostile clients at once, and checks that nothing is wrong, lost or kept.

    tools/soak.py [--requests 1e8] [--driver uring|tokio]

Honest clients are `ndecho load`, which compares every reply with its request: gRPC with 1000 calls in flight, gRPC and
REST with messages of other sizes and encodings, in turns. Beside them run clients that connect for one request, break
off in every state of a request, read slowly, are stopped by SIGSTOP, and take all descriptors of the server. After each
turn all of them end, and the server's memory and descriptors are read. Needs `cargo build --release`. Prints a line for
each turn; exits with 1 if a request was answered wrongly or not at all, or if memory or descriptors grow.
"""

import argparse
import json
import os
import pathlib
import random
import resource
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "target/release"
DESCRIPTORS = 400
BULK = 4_000_000
# Protocol, codec, bytes, requests in flight, connections, requests. A rung on tokio serves the codec of its name only.
LOADS = [
    ("grpc", "protobuf", 8, 1000, 1, BULK),
    ("grpc", "protobuf", 2048, 200, 4, 200_000),
    ("grpc", "npy", 1 << 20, 8, 2, 2_000),
    ("rest", "npy", 8, 50, 50, 200_000),
    ("rest", "json", 4096, 20, 20, 20_000),
    ("rest", "msgpack", 1 << 20, 8, 8, 2_000),
]
MEMORY_GROWTH_MAX = 1.1
MEMORY_SLACK = 4 << 20
BODY = b"\x93NUMPY\x01\x00v\x00" + f"{{'descr': '<f8', 'fortran_order': False, 'shape': (8192,), }}".ljust(117).encode() + \
    b"\n" + bytes(65536)
REQUEST = b"POST /echo_npy HTTP/1.1\r\nhost: soak\r\ncontent-length: %d\r\n\r\n" % len(BODY) + BODY
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"


class Server:
    """A server process with few descriptors, and the addresses that its ready line names."""

    def __init__(self, driver):
        limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        if driver == "uring":
            commands = [["uring-server", "--grpc", "127.0.0.1:0", "--rest", "127.0.0.1:0", "--cpu", "0"]]
        else:
            commands = [["ndecho", "serve", f"tokio/{rung}", "--addr", "127.0.0.1:0", "--cpu", "0"]
                        for rung in ("h2/protobuf", "h1/npy")]
        self.processes = []
        addresses = []
        for command in commands:
            process = subprocess.Popen([str(FOLDER / command[0]), *command[1:]], stdout=subprocess.PIPE, text=True,
                                       preexec_fn=limit)
            self.processes.append(process)
            words = process.stdout.readline().split()
            addresses += [word.split("=")[-1] for word in words[1:]]
        self.grpc, self.rest = addresses[:2]

    def memory(self):
        return sum(self.status(process, "VmRSS") * 1024 for process in self.processes)

    def descriptors(self):
        return sum(len(os.listdir(f"/proc/{process.pid}/fd")) for process in self.processes)

    @staticmethod
    def status(process, name):
        text = pathlib.Path(f"/proc/{process.pid}/status").read_text()
        return int(next(line for line in text.splitlines() if line.startswith(name)).split()[1])

    def end(self):
        """Asks the server to end, and returns its exit statuses."""
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
        return [process.wait(30) for process in self.processes]


class Hostile:
    """Clients that run beside a load until they are told to end. Each method is one of them, and counts its attempts."""

    def __init__(self, server, seed):
        self.server = server
        self.random = random.Random(seed)
        self.stop = threading.Event()
        self.counts = dict.fromkeys(("churned", "aborted", "read slowly", "out of descriptors"), 0)
        self.wrong = []
        targets = (self.churn, self.abort, self.read_slowly, self.exhaust)
        self.threads = [threading.Thread(target=self.until_stopped, args=(target,)) for target in targets]
        for thread in self.threads:
            thread.start()

    def end(self):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def until_stopped(self, target):
        while not self.stop.is_set():
            try:
                target()
            except OSError:
                # A server without free descriptors may refuse or reset.
                time.sleep(0.05)

    def connect(self, address):
        host, port = address.rsplit(":", 1)
        return socket.create_connection((host, int(port)), timeout=20)

    def churn(self):
        with self.connect(self.server.rest) as client:
            client.sendall(REQUEST)
            reply = read_reply(client)
        self.counts["churned"] += 1
        if reply != BODY:
            self.wrong.append(f"a client with one request got {len(reply)} bytes, expected {len(BODY)}")

    def abort(self):
        """Breaks off after a random part of a request or of its reply, half of the times with a reset."""
        is_rest = self.random.random() < 0.7
        sent = REQUEST if is_rest else PREFACE + self.random.randbytes(100)
        with self.connect(self.server.rest if is_rest else self.server.grpc) as client:
            cut = self.random.choice([0, 10, 60, len(sent) // 2, len(sent)])
            client.sendall(sent[:cut])
            if cut >= len(REQUEST):
                client.recv(self.random.choice([1, 1000, 30_000]))
            if self.random.random() < 0.3:
                client.shutdown(socket.SHUT_WR)
            if self.random.random() < 0.5:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.counts["aborted"] += 1
        time.sleep(0.002)

    def read_slowly(self):
        with self.connect(self.server.rest) as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.sendall(REQUEST * 4)
            for _ in range(4):
                if self.stop.is_set():
                    return
                reply = read_reply(client, 4096, 0.01)
                if reply != BODY:
                    self.wrong.append(f"a slow reader got {len(reply)} bytes, expected {len(BODY)}")
                self.counts["read slowly"] += 1

    def exhaust(self):
        self.stop.wait(2)
        held = []
        try:
            for _ in range(DESCRIPTORS + 20):
                held.append(self.connect(self.server.rest))
            self.stop.wait(0.5)
            self.counts["out of descriptors"] += 1
        finally:
            for client in held:
                client.close()


def read_reply(client, piece=65536, pause=0.0):
    """Reads one reply with a content-length and returns its body; what was read so far if the connection ends."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = client.recv(1)
        if not more:
            return data
        data += more
    head = data.lower()
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    body = b""
    while len(body) < length:
        more = client.recv(min(piece, length - len(body)))
        if not more:
            break
        body += more
        time.sleep(pause)
    return body


def load(server, protocol, codec, size, in_flight, connections, requests):
    """Runs one load, stops it for a moment in the middle, and returns its number of requests and its failure."""
    url = f"grpc://{server.grpc}" if protocol == "grpc" else f"http://{server.rest}"
    command = [str(FOLDER / "ndecho"), "load", url, "--codec", codec, "--size", str(size), "--connections",
               str(connections), "--in-flight", str(in_flight), "--requests", str(requests), "--timeout", "300s",
               "--cpu", "1", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.3)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate()
    if process.returncode != 0:
        return 0, f"{' '.join(command[1:])}: exit {process.returncode}: {err.strip()}"
    return json.loads(out)["requests"], None


def turn(server, seed, is_served):
    """Runs every load once beside hostile clients. Returns the requests, the failures and what the clients did."""
    hostile = Hostile(server, seed)
    done, failures = 0, []
    for of_turn in filter(is_served, LOADS):
        requests, failure = load(server, *of_turn)
        done += requests
        failures += [failure] if failure else []
    hostile.end()
    return done, failures + hostile.wrong, hostile.counts


def settled(server, descriptors):
    """Waits until the server has closed what its clients left, at most 20 s, and returns its descriptors."""
    for _ in range(200):
        if server.descriptors() <= descriptors:
            break
        time.sleep(0.1)
    return server.descriptors()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=float, default=1e8)
    parser.add_argument("--driver", choices=("uring", "tokio"), default="uring")
    options = parser.parse_args()
    server = Server(options.driver)
    is_served = lambda of_turn: options.driver == "uring" or of_turn[:2] in (("grpc", "protobuf"), ("rest", "npy"))
    idle = server.descriptors()
    done, failures, memory, number = 0, [], [], 0
    begun = time.monotonic()
    while done < options.requests and not failures:
        number += 1
        requests, failures, counts = turn(server, number, is_served)
        done += requests
        descriptors = settled(server, idle)
        memory.append(server.memory())
        if descriptors > idle:
            failures.append(f"{descriptors} descriptors stay open after a turn, {idle} before the first")
        print(f"turn {number}: {done:,} requests after {time.monotonic() - begun:.0f} s; "
              f"{', '.join(f'{count} {what}' for what, count in counts.items())}; "
              f"{memory[-1] / 2**20:.1f} MiB, {descriptors} descriptors", flush=True)
    if len(memory) > 3:
        half = len(memory) // 2
        early, late = max(memory[:half]), max(memory[half:])
        if late > early * MEMORY_GROWTH_MAX + MEMORY_SLACK:
            failures.append(f"memory grew from {early} to {late} bytes")
    statuses = server.end()
    failures += [f"the server ended with {status}" for status in statuses if status != 0]
    for failure in failures:
        print(f"FAILED: {failure}")
    print(f"{done:,} requests, {len(failures)} failures")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
