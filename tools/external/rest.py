"""Echo of a REST server: the encoding of each path, and the reply to a bad message."""

import contract
import fast
import seed

BODY_BYTES_MAX = 192 * 1024 * 1024  # 64 MiB of doubles have about 165 MiB as a JSON list


def routes(codec):
    """Returns content type and echo function of each path, with the libraries that `codec` names."""
    library = fast if ":" in codec else seed

    def echo_json(body):
        message = library.load(body)
        form = library.Json if contract.is_list_form(message) else library.JsonBinary
        return form.encode(form.read(message, body))

    def echo_msgpack(body):
        return library.Msgpack.encode(library.Msgpack.decode(body))

    def echo_npy(body):
        return library.Npy.encode(library.Npy.decode(body))

    return {
        "/echo_json": ("application/json", echo_json),
        "/echo_msgpack": ("application/x-msgpack", echo_msgpack),
        "/echo_npy": ("application/x-npy", echo_npy),
        "/echo_reflect": ("application/octet-stream", bytes),
    }


def answer(route, body):
    """Returns status, content type and body of the reply."""
    content_type, echo = route
    try:
        return 200, content_type, echo(body)
    except contract.BAD_INPUT as error:
        return 400, "text/plain; charset=utf-8", contract.reason(error).encode()
