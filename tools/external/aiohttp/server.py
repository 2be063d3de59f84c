"""Server over aiohttp: one process, on the event loop of asyncio or on uvloop."""

import asyncio
import functools
import pathlib
import sys

from aiohttp import web

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import rest
import serving


async def echo(route, request):
    status, content_type, body = rest.answer(route, await request.read())
    return web.Response(status=status, body=body, headers={"Content-Type": content_type})


async def healthz(request):
    return web.Response(text="ok\n")


async def serve(args):
    app = web.Application(client_max_size=rest.BODY_BYTES_MAX)
    app.router.add_get("/healthz", healthz)
    for path, route in rest.routes(args.codec).items():
        app.router.add_post(path, functools.partial(echo, route))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=serving.GRACE_S)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", args.port).start()
    serving.ready(runner.addresses[0][1])
    await serving.until_end()
    await runner.cleanup()


def uvloop_flag(parser):
    parser.add_argument("--uvloop", action="store_true", help="in place of the event loop of asyncio")


def main():
    args = serving.arguments(__doc__, uvloop_flag)
    if args.uvloop:
        import uvloop

        uvloop.run(serve(args))
    else:
        asyncio.run(serve(args))


if __name__ == "__main__":
    main()
