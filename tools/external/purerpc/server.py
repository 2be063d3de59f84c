"""Server over purerpc: HTTP/2 and gRPC in pure Python, on anyio."""

import pathlib
import signal
import sys

import anyio
import purerpc
from purerpc.grpclib.config import GRPCConfiguration
from purerpc.grpclib.exceptions import RpcFailedError
from purerpc.grpclib.status import Status, StatusCode
from purerpc.server import ConnectionHandler

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1]))
import contract
import messages
import serving

service = purerpc.Service(messages.SERVICE)


@service.rpc(messages.METHOD)
async def echo(request: messages.NDArray) -> messages.NDArray:
    try:
        return messages.echo(request)
    except contract.BAD_INPUT as error:
        raise RpcFailedError(Status(StatusCode.INVALID_ARGUMENT, contract.reason(error)))


async def serve(args):
    # purerpc.Server listens on every interface and refuses messages above 32 MiB. So this uses its parts.
    handler = ConnectionHandler({service.name: service}, purerpc.Server())
    handler.config = GRPCConfiguration(client_side=False, max_message_length=messages.MESSAGE_BYTES_MAX)

    async def connection(stream):
        # The handler ignores its errors and leaves the connection open. The client would wait forever.
        async with stream:
            await handler(stream)

    async with await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=args.port) as listener:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listener.serve, connection)
            with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
                serving.ready(listener.extra(anyio.abc.SocketAttribute.local_port))
                async for _ in signals:
                    tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(serve, serving.arguments(__doc__))
