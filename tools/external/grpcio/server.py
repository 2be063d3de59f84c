"""Server over synchronous grpcio: calls run on a pool of threads."""

import pathlib
import sys
from concurrent import futures

import grpc

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import contract
import messages
import packed
import serving

# Measured on one core: CPU per request falls from one to four threads, and rises again above eight.
THREADS = 4

# Class of the message, and its echo, by codec.
FORMS = {
    "protobuf": (messages.NDArray, messages.echo),
    "protobuf_packed": (packed.PackedArray, packed.echo),
}


def reflect(body, context):
    return body


def handler(codec):
    if codec == "reflect":
        return grpc.unary_unary_rpc_method_handler(reflect)
    message, echo = FORMS[codec]

    def answer(request, context):
        try:
            return echo(request)
        except contract.BAD_INPUT as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, contract.reason(error))

    return grpc.unary_unary_rpc_method_handler(answer, message.FromString, message.SerializeToString)


def serve(args):
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=args.threads), options=messages.SIZE_OPTIONS)
    service = grpc.method_handlers_generic_handler(messages.SERVICE, {messages.METHOD: handler(args.codec)})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port(f"127.0.0.1:{args.port}")
    server.start()
    serving.ready(port)
    serving.wait_for_end()
    server.stop(grace=serving.GRACE_S).wait()


def threads(parser):
    parser.add_argument("--threads", type=int, default=THREADS, help="size of the pool of threads")


if __name__ == "__main__":
    serve(serving.arguments(__doc__, threads))
