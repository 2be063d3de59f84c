"""Starts an HTTP server that reads its address from a configuration file, and ends it at a signal.

The launcher binds the port and hands the listening socket to the server, so that no other program can take the port
in between. It fills the template of the configuration, starts the server as its child in a temporary folder, and
prints the ready line when GET /healthz is answered. At SIGTERM or SIGINT it asks the server to end, and returns when
the requests in flight are answered.
"""

import contextlib
import http.client
import os
import pathlib
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
import time

import serving

START_S = 10
BACKLOG = 4096
POLL_S = 0.02


def listen(port):
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    listener.set_inheritable(True)
    return listener


def configuration(template, listener, folder):
    """Writes the configuration into `folder` and returns its path. Words in @ of the template are replaced."""
    text = pathlib.Path(template).read_text()
    values = {
        "@PORT@": str(listener.getsockname()[1]),
        "@USER@": pwd.getpwuid(os.getuid()).pw_name,
        "@FOLDER@": folder,
    }
    for word, value in values.items():
        text = text.replace(word, value)
    path = pathlib.Path(folder) / pathlib.Path(template).name
    path.write_text(text)
    return str(path)


def answers(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    with contextlib.suppress(OSError, http.client.HTTPException), contextlib.closing(connection):
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    return False


def run(description, template, command, environment, end_signal):
    """Runs the server until a signal. `command` and `environment` are functions of what the launcher has made.

    `command(configuration, folder)` returns the words of the command, and `environment(descriptor, port)` the
    variables that tell the server of the listening socket. The server ends gracefully at `end_signal`.
    """
    args = serving.arguments(description)
    ends = (signal.SIGTERM, signal.SIGINT)
    listener = listen(args.port)
    port = listener.getsockname()[1]
    with tempfile.TemporaryDirectory(prefix="ndecho-") as folder:
        words = command(configuration(template, listener, folder), folder)
        variables = os.environ | environment(listener.fileno(), port)
        signal.pthread_sigmask(signal.SIG_BLOCK, ends)
        server = subprocess.Popen(
            words,
            env=variables,
            pass_fds=[listener.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=sys.stderr,
            preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, ends),
        )
        try:
            deadline = time.monotonic() + START_S
            while not answers(port):
                if server.poll() is not None or time.monotonic() > deadline:
                    sys.exit(f"{words[0]} did not start: status {server.returncode}")
                time.sleep(POLL_S)
            serving.ready(port)
            # SIGCHLD wakes the launcher if the server ends by itself.
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
            while server.poll() is None and signal.sigtimedwait({*ends, signal.SIGCHLD}, 60) is None:
                pass
            if server.poll() is not None:
                sys.exit(f"{words[0]} ended by itself: status {server.returncode}")
            listener.close()  # open until here, because ndecho sets the options of the sockets of this process
            server.send_signal(end_signal)
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(serving.GRACE_S)
        finally:
            if server.poll() is None:
                server.kill()
                server.wait()
