"""What every server has in common around its own loop: flags, the core, the ready line, the end."""

import argparse
import asyncio
import os
import signal
import threading

GRACE_S = 5  # for calls in flight, once a signal says to end


def arguments(description, more=lambda parser: None):
    """Reads the flags and pins the process, which has to be done before a library starts a thread."""
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
    """Says where the server listens, once it does."""
    print(f"ready 127.0.0.1:{port}", flush=True)


def wait_for_end():
    """Blocks until SIGTERM or SIGINT, in the main thread of a server that has no loop of its own."""
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()


async def until_end():
    """Waits for SIGTERM or SIGINT on asyncio's loop."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    await ended.wait()
