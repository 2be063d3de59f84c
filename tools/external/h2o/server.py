"""Server over h2o with a handler in mruby: one thread, which returns each body."""

import pathlib
import signal
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))
import launcher


def command(configuration, folder):
    return ["h2o", "--mode", "worker", "--conf", configuration]


def environment(descriptor, port):
    # h2o takes over the sockets that this variable of Server::Starter names.
    return {"SERVER_STARTER_PORT": f"127.0.0.1:{port}={descriptor}"}


if __name__ == "__main__":
    launcher.run(__doc__, HERE / "h2o.conf", command, environment, signal.SIGTERM)
