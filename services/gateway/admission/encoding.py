"""The edge, fitted to Flask: every request enters, is admitted, has its body unpacked, and leaves."""

import io
import zlib

from flask import Flask, Response, g, request

from services.core.errors import InvalidInputError, TooLargeError, UnsupportedMediaError
from services.gateway.admission.admission import Edge
from services.gateway.limits import Limits
from services.gateway.server.wsgi import ARRIVED

_WINDOW_BITS = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def guard(app: Flask, edge: Edge, limits: Limits) -> None:
    """Put the edge around every route of `app`, those of unknown paths too."""
    app.config["MAX_CONTENT_LENGTH"] = limits.max_body_bytes

    @app.before_request
    def enter() -> None:
        arrived_s = request.environ.get(ARRIVED)
        address = request.remote_addr or ""
        g.visit = edge.enter(request.method, request.path, request.headers.get, address, arrived_s=arrived_s)
        g.request_id, g.metadata = g.visit.request_id, g.visit.metadata
        if request.url_rule is not None:
            g.visit.route = request.url_rule.rule
        g.deadline = edge.admit(g.visit, request.headers.get)
        encoding = request.headers.get("Content-Encoding", "identity").lower()
        if encoding != "identity":
            body = inflate(request.get_data(), encoding, limits)
            request.environ["wsgi.input"] = io.BytesIO(body)
            request.environ["CONTENT_LENGTH"] = str(len(body))
            del request.environ["HTTP_CONTENT_ENCODING"]
            request.__dict__.pop("stream", None)  # werkzeug keeps the old one
            request.__dict__.pop("_cached_data", None)

    @app.after_request
    def leave(response: Response) -> Response:
        if "images" in g:  # said by a blueprint
            g.visit.images = g.images
        response.headers["X-Request-ID"] = g.request_id
        edge.leave(g.visit, response.status_code)
        return response


def check_length(length: int, limits: Limits) -> None:
    """Refuse a body by its size, before it is read if its size is known."""
    if length > limits.max_body_bytes:
        raise TooLargeError(f"the body has more than {limits.max_body_bytes} bytes")


def inflate(body: bytes, encoding: str, limits: Limits) -> bytes:
    """Undo `Content-Encoding`, never making more than a body may hold."""
    if encoding not in _WINDOW_BITS:
        raise UnsupportedMediaError(f"Content-Encoding {encoding[:40]!r}; bodies are gzip, deflate or as they are")
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        data = stream.decompress(body, limits.max_body_bytes + 1)
    except zlib.error as exc:
        raise InvalidInputError(f"a body that is not {encoding}: {exc}") from exc
    check_length(len(data), limits)
    if not stream.eof:
        raise InvalidInputError(f"a {encoding} body that ends too soon")
    return data
