"""Server over Tornado with plain handlers: one process, one event loop."""

import pathlib
import sys

import tornado.web

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import serving
import tornado_server


class Echo(tornado.web.RequestHandler):
    def initialize(self, route):
        self.route = route

    def post(self):
        tornado_server.reply(self, self.route)


if __name__ == "__main__":
    tornado_server.run(serving.arguments(__doc__), Echo)
