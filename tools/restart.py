#!/usr/bin/env python3
"""Restarts servers under load and counts the requests that are lost.

    tools/restart.py [--restarts 5] [--build target/release] [RUNG...]

A forwarder stands between `ndecho load` and the server. After each half a second of load it sends new connections to a
fresh server, and the old one gets SIGTERM. A request is lost if it was sent and its connection ended without a reply; `ndecho
load` connects again only if the server said that it would end the connection, and fails otherwise. Prints a line for
each rung; exits with 1 if a request was lost, a server did not end with 0, or the load ended before the last restart.
A rung that does not start is skipped. Needs `cargo build --release`.
"""

import argparse
import asyncio
import json
import pathlib
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RUNGS = [f"{driver}/{stack}" for driver in ("uring", "tokio", "tokio-uring")
         for stack in ("h1/npy", "hyper/npy", "h2/protobuf", "h2-crate:tuned/protobuf:prost",
                       "hyper-h2:tuned/protobuf:prost")]
RUNGS += ["tokio/axum/npy", "tokio/tonic/protobuf:prost"]
CONNECTIONS = 16
IN_FLIGHT = {"http": 16, "grpc": 400}
REQUESTS = {"http": 60_000, "grpc": 400_000}


async def start(build, rung):
    command = [str(build / "ndecho"), "serve", rung, "--addr", "127.0.0.1:0", "--cpu", "0"]
    server = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE,
                                                  stderr=asyncio.subprocess.DEVNULL)
    line = (await server.stdout.readline()).decode()
    if not line.startswith("ready"):
        raise CannotStart(rung)
    return server, int(line.rsplit(":", 1)[1])


class CannotStart(Exception):
    """A server ended before it was ready; `ndecho serve RUNG` says why."""


class Forwarder:
    """Listener that connects each of its connections with the server at `port`."""

    def __init__(self):
        self.port = 0
        self.tasks = set()

    async def end(self):
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, reader, writer):
        task = asyncio.current_task()
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(pipe(reader, up_writer), pipe(up_reader, writer))
        writer.close()
        up_writer.close()


async def pipe(reader, writer):
    """Copies all bytes, and then the end of the stream."""
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def restarts(build, rung, count):
    """Restarts a server `count` times during one load; returns the load's output, and the servers' exit statuses."""
    children = []
    try:
        return await restarts_of(build, rung, count, children)
    finally:
        for child in children:
            if child.returncode is None:
                child.kill()


async def restarts_of(build, rung, count, children):
    forwarder = Forwarder()
    listener = await asyncio.start_server(forwarder.serve, "127.0.0.1", 0)
    server, forwarder.port = await start(build, rung)
    children.append(server)
    scheme = "http" if rung.endswith("/npy") else "grpc"
    address = f"{scheme}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    command = [str(build / "ndecho"), "load", address, "--codec", rung.split("/")[2].split(":")[0], "--size", "2KiB",
               "--connections", str(CONNECTIONS), "--in-flight", str(IN_FLIGHT[scheme]),
               "--requests", str(REQUESTS[scheme]), "--timeout", "120s", "--cpu", "1", "--json"]
    load = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE,
                                                stderr=asyncio.subprocess.PIPE)
    children.append(load)
    ended, statuses = asyncio.create_task(load.communicate()), []
    while len(statuses) < count:
        await asyncio.sleep(0.5)
        if ended.done():
            break
        old = server
        server, forwarder.port = await start(build, rung)
        children.append(server)
        old.send_signal(signal.SIGTERM)
        statuses.append(await asyncio.wait_for(old.wait(), 30))
    out, err = await ended
    server.send_signal(signal.SIGTERM)
    statuses.append(await asyncio.wait_for(server.wait(), 30))
    listener.close()
    await forwarder.end()
    return out.decode(), err.decode().strip(), statuses


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("rungs", nargs="*", metavar="RUNG", default=RUNGS)
    options = parser.parse_args()
    failed = False
    for rung in options.rungs:
        try:
            out, err, statuses = await restarts(options.build, rung, options.restarts)
        except CannotStart:
            print(f"{rung}: skipped, it does not start", flush=True)
            continue
        is_good = bool(out) and statuses == [0] * (options.restarts + 1)
        failed |= not is_good
        said = json.loads(out) if out else {}
        text = f"{said['requests']:,} requests, {said.get('reconnects', 0)} connections made again" if out else err
        print(f"{rung}: {len(statuses) - 1} restarts, {text}" + ("" if is_good else f"; FAILED, exits {statuses}"),
              flush=True)
    sys.exit(1 if failed else 0)


asyncio.run(main())
