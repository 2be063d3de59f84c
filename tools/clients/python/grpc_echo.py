"""Sends an array over gRPC, with grpcio and the code that grpcio-tools makes of proto/ndecho.proto.

grpc_echo.py 127.0.0.1:50051
"""

import pathlib
import sys

import grpc
import numpy as np

sys.path.append(str(pathlib.Path(__file__).parents[3] / "proto"))
messages, services = grpc.protos_and_services("ndecho.proto")

# grpcio receives at most 4 MiB by default.
OPTIONS = [("grpc.max_receive_message_length", -1)]


def echo(stub, array):
    message = messages.NDArray(buffer=array.tobytes(), dtype=array.dtype.str, shape=array.shape)
    reply = stub.Echo(message, timeout=30)
    return np.frombuffer(reply.buffer, reply.dtype).reshape(reply.shape)


def main(address):
    sent = np.array([[1.5, np.nan, -0.0], [np.inf, 0.1, 5e-324]])
    with grpc.insecure_channel(address, options=OPTIONS) as channel:
        got = echo(services.CalculatorStub(channel), sent)
    if (got.dtype, got.shape, got.tobytes()) != (sent.dtype, sent.shape, sent.tobytes()):
        sys.exit(f"sent {sent.dtype} {sent.tolist()}, got {got.dtype} {got.tolist()}")
    print(f"Python grpcio: {got.dtype.str} {got.shape} came back bit for bit")


if __name__ == "__main__":
    main(sys.argv[1])
