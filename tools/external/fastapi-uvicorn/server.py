"""Server over FastAPI on uvicorn: one process, uvloop and httptools."""

import pathlib
import signal
import sys

import uvicorn

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import fastapi_app
import serving


class Server(uvicorn.Server):
    async def startup(self, sockets=None):
        await super().startup(sockets)
        serving.ready(self.servers[0].sockets[0].getsockname()[1])


def main():
    args = serving.arguments(__doc__)
    config = uvicorn.Config(
        fastapi_app.application(args.codec),
        host="127.0.0.1",
        port=args.port,
        # uvicorn chooses these two itself where they are installed, as uvicorn[standard] does. Here they are required.
        loop="uvloop",
        http="httptools",
        lifespan="off",  # the application has no start or end of its own
        ws="none",
        access_log=False,
        log_level="warning",
        timeout_keep_alive=75,  # as long as a server of the contract lets a connection idle; uvicorn's default is 5 s
        timeout_graceful_shutdown=serving.GRACE_S,
    )
    # uvicorn ends gracefully on these signals and then raises them again for the handler before its own.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    Server(config).run()


if __name__ == "__main__":
    main()
