"""Shared parts of all servers: flags, core, ready line and shutdown."""

import argparse
import asyncio
import os
import signal
import threading

GRACE_S = 5  # for calls in flight, after the signal to end


def arguments(description, more=lambda parser: None):
    """Parses the flags and pins the process. Call it before a library starts a thread."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--cpu", type=int, help="core for all threads")
    parser.add_argument("--codec", required=True, help="base[:flavour]; a flavour means the fast libraries")
    more(parser)
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    return args


def ready(port):
    """Prints the ready line. Call it when the server listens."""
    print(f"ready 127.0.0.1:{port}", flush=True)


def wait_for_end():
    """Blocks the main thread until SIGTERM or SIGINT, for a server without an event loop."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


async def until_end():
    """Waits for SIGTERM or SIGINT on the event loop of asyncio."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
