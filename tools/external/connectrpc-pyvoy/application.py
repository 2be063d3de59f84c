"""ASGI application of the contract, which the interpreter in Envoy imports. The messages are those of google.protobuf."""

import logging

from connectrpc.code import Code
from connectrpc.compat import google_protobuf_codecs
from connectrpc.errors import ConnectError
from connectrpc.method import IdempotencyLevel, MethodInfo, StreamType
from connectrpc.server import ConnectASGIApplication, Endpoint

import contract
import messages

# After each call, connectrpc cancels its wait for the end of the connection, and pyvoy then raises InvalidStateError in
# the event loop. The call is not affected, but asyncio would log a traceback, which cost 30 of 142 µs for 8 B.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


class Calculator(ConnectASGIApplication):
    """Application of the service, as connectrpc's generator writes it."""

    path = f"/{messages.SERVICE}"

    def __init__(self, service):
        method = MethodInfo(
            name=messages.METHOD,
            service_name=messages.SERVICE,
            input=messages.NDArray,
            output=messages.NDArray,
            idempotency_level=IdempotencyLevel.UNKNOWN,
            stream_type=StreamType.UNARY,
        )
        super().__init__(
            service=service,
            endpoints=lambda service: {
                f"{self.path}/{messages.METHOD}": Endpoint.unary(method=method, function=service.echo)
            },
            codecs=google_protobuf_codecs(),
            compressions=(),  # the contract has none
            read_max_bytes=messages.MESSAGE_BYTES_MAX,
        )


class Service:
    async def echo(self, request, context):
        try:
            return messages.echo(request)
        except contract.BAD_INPUT as error:
            raise ConnectError(Code.INVALID_ARGUMENT, contract.reason(error))


app = Calculator(Service())
