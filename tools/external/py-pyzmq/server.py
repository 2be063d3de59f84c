"""Server over pyzmq: one REP socket over TCP, one thread beside that of libzmq, frames without a copy.

A request has two parts: a JSON head {"dtype": "<f8", "shape": [2, 3]} and the bytes of the array. So has a reply. A
fault of a message is answered with one part, {"error": reason}, and the socket takes the next request.
"""

import json
import pathlib
import signal
import sys
import threading

import zmq

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import contract
import serving

BODY_BYTES_MAX = 192 << 20
SIGNAL_LOOK_MS = 200


def run(socket, ended):
    """Answers until a signal comes. A request that has begun is answered first."""
    while not ended.is_set():
        try:
            parts = socket.recv_multipart(copy=False)
        except zmq.Again:
            continue
        socket.send_multipart(answer(parts), copy=False)


def answer(parts):
    try:
        return echo(parts)
    except contract.BAD_INPUT as error:
        return [json.dumps({"error": contract.reason(error)}).encode()]


def echo(parts):
    if len(parts) != 2:
        raise contract.Refused(f"a message of {len(parts)} parts: expected a JSON head and the bytes of the array")
    head, data = parts
    fields = json.loads(head.bytes)
    if not isinstance(fields, dict) or fields.keys() != {"dtype", "shape"} or not isinstance(fields["shape"], list):
        raise contract.Refused('expected a JSON head like {"dtype": "<f8", "shape": [2, 3]}')
    array = contract.from_bytes(data.buffer, fields["dtype"], fields["shape"])
    return [json.dumps({"dtype": array.dtype.str, "shape": array.shape}).encode(), array]


def main():
    args = serving.arguments(__doc__)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    context = zmq.Context()
    socket = context.socket(zmq.REP)
    socket.linger = serving.GRACE_S * 1000
    socket.maxmsgsize = BODY_BYTES_MAX
    # A signal that comes just before libzmq waits does not end the wait.
    socket.rcvtimeo = SIGNAL_LOOK_MS
    socket.bind(f"tcp://127.0.0.1:{args.port or '*'}")
    serving.ready(socket.last_endpoint.rsplit(b":", 1)[1].decode())
    run(socket, ended)
    socket.close()
    context.term()


if __name__ == "__main__":
    main()
