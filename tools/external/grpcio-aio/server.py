"""Server over grpcio.aio: calls are coroutines on one event loop."""

import asyncio
import pathlib
import sys

import grpc

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import contract
import messages
import packed
import serving

# Class of the message, and its echo, by codec.
FORMS = {
    "protobuf": (messages.NDArray, messages.echo),
    "protobuf_packed": (packed.PackedArray, packed.echo),
}


async def reflect(body, context):
    return body


def handler(codec):
    if codec == "reflect":
        return grpc.unary_unary_rpc_method_handler(reflect)
    message, echo = FORMS[codec]

    async def answer(request, context):
        try:
            return echo(request)
        except contract.BAD_INPUT as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, contract.reason(error))

    return grpc.unary_unary_rpc_method_handler(answer, message.FromString, message.SerializeToString)


async def serve(args):
    server = grpc.aio.server(options=messages.SIZE_OPTIONS)
    service = grpc.method_handlers_generic_handler(messages.SERVICE, {messages.METHOD: handler(args.codec)})
    server.add_generic_rpc_handlers((service,))
    port = server.add_insecure_port(f"127.0.0.1:{args.port}")
    await server.start()
    serving.ready(port)
    await serving.until_end()
    await server.stop(grace=serving.GRACE_S)


if __name__ == "__main__":
    asyncio.run(serve(serving.arguments(__doc__)))
