"""REST server that returns every body. Its first argument selects how it fails.

Usage: server.py MODE PORT
"""

import contextlib
import os
import signal
import socket
import sys
import threading
import time

REPLIES_BEFORE_DEATH = 20
# More than the conformance run has, and longer than a warm-up.
REPLIES_BEFORE_LATE_DEATH = 100
LATE_S = 0.5
WORK_S = 0.002

mode, port = sys.argv[1], int(sys.argv[2])
replies = 0
first_reply = None


def spin():
    end = time.thread_time() + WORK_S
    while time.thread_time() < end:
        pass


def answer(body):
    global replies, first_reply
    replies += 1
    first_reply = first_reply or time.monotonic()
    if mode == "hangs":
        time.sleep(600)
    if mode == "dies" and replies > REPLIES_BEFORE_DEATH:
        print("out of luck", file=sys.stderr, flush=True)
        os._exit(3)
    is_late = replies > REPLIES_BEFORE_LATE_DEATH and time.monotonic() > first_reply + LATE_S
    if mode == "dies-late" and is_late:
        print("tired of it", file=sys.stderr, flush=True)
        os._exit(3)
    if mode in ("forks", "threads"):
        spin()
    # Mode "learnt": only arrays of one number are answered correctly, as a benchmark sends them.
    is_wrong = mode == "wrong" or (mode == "learnt" and b"'shape': (1,)" not in body)
    return body[:-1] + bytes([body[-1] ^ 1]) if is_wrong else body


def serve(connection):
    stream = connection.makefile("rb")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while stream.readline():
        length = 0
        while (line := stream.readline().strip().lower()):
            if line.startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        body = answer(stream.read(length))
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)


def serve_quietly(connection):
    with contextlib.suppress(ConnectionError):
        serve(connection)


def accept(listener):
    while True:
        threading.Thread(target=serve_quietly, args=(listener.accept()[0],), daemon=True).start()


if mode == "dies-early":
    sys.exit("no luck at all")
if mode == "mute":
    time.sleep(600)
listener = socket.create_server(("127.0.0.1", port), backlog=128)
print(f"ready {listener.getsockname()[0]}:{listener.getsockname()[1]}", flush=True)
if mode == "forks" and (worker := os.fork()):
    signal.signal(signal.SIGTERM, lambda *_: (os.kill(worker, signal.SIGTERM), sys.exit(0)))
    os.wait()
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("about to serve", file=sys.stderr, flush=True)
accept(listener)
