"""Server over FastAPI on granian: one worker, one thread of its Rust runtime, uvloop."""

import pathlib
import socket
import sys
import threading
import time

import granian
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import fastapi_app
import serving

IDLE_MS = 75_000
POLL_S = 0.02


def reserve(port):
    """Returns a socket that keeps `port`, or a free one if it is 0. It does not listen, so it gets no connection.

    granian shares its port between workers by SO_REUSEPORT, and does not say which one the kernel chose for 0.
    """
    reserved = socket.socket()
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    reserved.bind(("127.0.0.1", port))
    return reserved


def announce(port):
    """Prints the ready line when the worker listens. granian itself calls nothing at that time."""
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(POLL_S)
        else:
            return serving.ready(port)


def main():
    args = serving.arguments(__doc__)
    reserved = reserve(args.port)
    port = reserved.getsockname()[1]

    def load(codec):
        """Runs in the worker before it listens."""
        threading.Thread(target=announce, args=(port,), daemon=True).start()
        return fastapi_app.application(codec)

    server = granian.Granian(
        args.codec,
        port=port,
        interface=Interfaces.ASGINL,  # without lifespan: the application has no start or end of its own
        workers=1,
        runtime_threads=1,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        # It also ends an idle connection. In the contract this is after 75 s; granian's default is 30 s.
        http1_settings=HTTP1Settings(header_read_timeout=IDLE_MS),
        websockets=False,
        log_access=False,
        log_level=LogLevels.warning,
        workers_kill_timeout=serving.GRACE_S,
    )
    server.serve(target_loader=load)


if __name__ == "__main__":
    main()
