"""Server over connectrpc, which speaks gRPC on pyvoy: Envoy with the Python interpreter inside."""

import asyncio
import pathlib
import sys

from pyvoy import PyvoyServer, StartupError

# pyvoy gives this path to the interpreter in Envoy, which imports application.py.
sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import serving

START_TRIES = 3


async def start(server):
    """Starts Envoy. pyvoy waits about 10 s for it, and it needs half of that beside three busy programs."""
    for tries_left in reversed(range(START_TRIES)):
        try:
            return await server.start()
        except StartupError:
            if not tries_left:
                raise


async def serve(args):
    server = PyvoyServer(
        "application:app",
        port=args.port,
        lifespan=False,
        additional_envoy_args=["--concurrency", "1"],  # one thread for connections; another one runs the application
        stderr=None,
    )
    end = asyncio.create_task(serving.until_end())
    await asyncio.sleep(0)  # the task begins, so a signal before the ready line is handled too
    await start(server)
    serving.ready(server.listener_port)
    envoy = asyncio.create_task(server.wait())
    await asyncio.wait({end, envoy}, return_when=asyncio.FIRST_COMPLETED)
    if not end.done():
        sys.exit(f"Envoy ended with status {envoy.result()}; its messages stand above")
    await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(serving.arguments(__doc__)))
