"""FastAPI application of both FastAPI servers.

For the codec `json`, the path of JSON has a pydantic model as parameter and as return value, which FastAPI parses,
checks and writes. All other paths read the raw body with `await request.body()` and return a `Response`.
"""

from typing import Any

import numpy as np
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException as StarletteHTTPException

import contract
import rest


class Array(BaseModel):
    """Array as a nested list of numbers."""

    # No type says that the depth of the list varies. A union such as `list[StrictFloat] | list[StrictInt] | list[Any]`
    # takes pydantic 56 instead of 1 µs for 64 KiB of doubles, and saves none of the contract's own checks.
    data: Any
    dtype: str


def application(codec):
    """Returns the application for a server that was started for `codec`."""
    # By default FastAPI does not read JSON without a Content-Type, and has no limit for the size of a message. In the
    # contract, the path alone chooses the codec, and there is a limit.
    app = FastAPI(strict_content_type=False, max_body_size=rest.BODY_BYTES_MAX)

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz():
        return "ok\n"

    # Both handlers as in "Handling Errors" of FastAPI's documentation. Without them, an invalid body has status 422.
    @app.exception_handler(RequestValidationError)
    async def invalid(request, error):
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        return PlainTextResponse(f"{place}: {first['msg']}", status_code=400)

    @app.exception_handler(StarletteHTTPException)
    async def refused(request, error):
        return PlainTextResponse(error.detail, status_code=error.status_code, headers=error.headers)

    routes = rest.routes(codec)
    if codec == "json":
        del routes["/echo_json"]
        app.post("/echo_json")(echo_json)
    for path, route in routes.items():
        app.post(path)(raw(route))
    return app


async def echo_json(message: Array, request: Request) -> Array:
    try:
        # FastAPI has already read the body and keeps it.
        array = contract.from_numbers(message.data, message.dtype, await request.body())
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise contract.Refused("NaN or Infinity, for which FastAPI would write null")
    except contract.BAD_INPUT as error:
        raise HTTPException(status_code=400, detail=contract.reason(error))
    return Array(data=array.tolist(), dtype=array.dtype.str)


def raw(route):
    async def echo(request: Request) -> Response:
        status, content_type, body = rest.answer(route, await request.body())
        return Response(content=body, status_code=status, media_type=content_type)

    return echo
