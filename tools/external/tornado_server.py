"""Shared parts of both Tornado servers."""

import asyncio
import logging
import socket

import tornado.httpserver
import tornado.netutil
import tornado.web

import rest
import serving


class Healthz(tornado.web.RequestHandler):
    def get(self):
        self.write("ok\n")


def reply(handler, route):
    status, content_type, body = rest.answer(route, handler.request.body)
    handler.set_status(status)
    handler.set_header("Content-Type", content_type)
    handler.finish(body)


def run(args, echo):
    """Serves with the handler class `echo` until SIGTERM or SIGINT."""
    logging.getLogger("tornado.access").disabled = True
    asyncio.run(serve(args, echo))


async def serve(args, echo):
    routes = [(path, echo, {"route": route}) for path, route in rest.routes(args.codec).items()]
    server = tornado.httpserver.HTTPServer(
        tornado.web.Application([("/healthz", Healthz), *routes]),
        max_body_size=rest.BODY_BYTES_MAX,
        max_buffer_size=rest.BODY_BYTES_MAX,
    )
    sockets = tornado.netutil.bind_sockets(args.port, "127.0.0.1", family=socket.AF_INET)
    server.add_sockets(sockets)
    serving.ready(sockets[0].getsockname()[1])
    await serving.until_end()
    server.stop()
    await server.close_all_connections()
