"""create_app(): the gateway as a Flask application, which any WSGI server can run.

Routes of operations go through one adapter to the same functions that services/gateway/server/http.py calls directly.
The pages, unknown routes and wrong methods are Flask's own, under both hosts.
"""

import asyncio
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from flask import Flask, Response, g
from flask import request as flask_request
from werkzeug.exceptions import ClientDisconnected, HTTPException, InternalServerError, MethodNotAllowed, NotFound

from services.core.errors import ClientGoneError, ServiceError, TooLargeError
from services.gateway.admission.context import Answer, Request
from services.gateway.admission.problems import problem_of_status, unexpected
from services.gateway.api.operations import Operation, refusal
from services.gateway.gateway import Gateway
from services.gateway.pages.demo import create_page
from services.gateway.pages.docs import docs_blueprint

REQUEST = "cleardigits.request"  # environ: the Request of a host that has made it, and will see it off
_PIECE_BYTES = 1 << 20


def create_app(gateway: Gateway, loop: asyncio.AbstractEventLoop | None = None) -> Flask:
    """The application. Operations run on `loop`; without one it is started, in a thread."""
    loop = loop or _loop_in_thread()
    app = Flask(__name__, static_folder=None)
    for operation in gateway.operations:
        view = _view(gateway, operation, loop)
        app.add_url_rule(operation.rule, endpoint_of(operation), view, methods=[operation.method])
    config = gateway.config
    app.register_blueprint(docs_blueprint(public_url=config.public_url))
    app.register_blueprint(create_page(source_url=config.source_url, public_url=config.public_url))
    operated = {endpoint_of(operation) for operation in gateway.operations}

    @app.before_request
    def enter() -> None:
        g.request = flask_request.environ.get(REQUEST) or _request(gateway)
        g.is_mine = not (
            REQUEST in flask_request.environ
            or (flask_request.endpoint in operated and flask_request.method != "OPTIONS")
        )
        if g.is_mine:
            if flask_request.url_rule is not None:
                g.request.route = flask_request.url_rule.rule
            gateway.admission.admit(g.request)

    @app.after_request
    def leave(response: Response) -> Response:
        response.headers["X-Request-ID"] = g.request.id
        if g.is_mine:
            gateway.admission.leave(g.request, response.status_code)
        return response

    @app.errorhandler(ServiceError)
    def service_error(error: ServiceError) -> Response:
        return _flask(refusal(g.request, error, gateway.admission))

    @app.errorhandler(HTTPException)
    def http_exception(error: HTTPException) -> Any:
        if error.response is not None or (error.code or 500) < 400:  # a redirect, or a response of its own
            return error.get_response()
        if isinstance(error, InternalServerError):
            return _flask(unexpected(path=g.request.path, request_id=g.request.id))
        kept = tuple((name, value) for name, value in error.get_headers() if name in ("Allow", "Retry-After"))
        at, detail = g.request.path, _detail(error, g.request)
        return _flask(
            problem_of_status(error.code or 500, error.name, detail, path=at, request_id=g.request.id, headers=kept)
        )

    return app


def endpoint_of(operation: Operation) -> str:
    """What Flask calls the operation's route; Flask gives dots a meaning."""
    return f"{operation.method} {operation.rule}".replace(".", "-")


def _view(gateway: Gateway, operation: Operation, loop: asyncio.AbstractEventLoop) -> Callable[..., Response]:
    """The operation as a view: its request is made from Flask's, its body is read from the host's stream."""

    def view(**arguments: str) -> Response:
        g.request.arguments = arguments
        read = partial(_body, flask_request.stream, gateway.limits.max_body_bytes)
        answer = gateway.respond(g.request, operation, lambda: asyncio.to_thread(read))
        return _flask(asyncio.run_coroutine_threadsafe(answer, loop).result())

    return view


def _request(gateway: Gateway) -> Request:
    headers = {name.lower(): value for name, value in flask_request.headers}
    return gateway.admission.enter(
        flask_request.method,
        flask_request.path,
        flask_request.environ.get("QUERY_STRING", ""),
        headers,
        flask_request.remote_addr or "",
        time.monotonic(),
    )


def _detail(error: HTTPException, request: Request) -> str:
    """What a caller should know of an address that is not there as it was asked for."""
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        allowed = [name for name in ("GET", "HEAD", "POST", "OPTIONS") if name in error.valid_methods]
        return f"the methods of this route are {', '.join(allowed)}"
    if isinstance(error, NotFound):
        return f"no route {request.path[:80]}: /docs shows them all"
    return error.description or error.name


def _body(stream: Any, most_bytes: int) -> bytes:
    """The whole body; a chunked one says its size only by ending."""
    parts: list[bytes] = []
    left = most_bytes + 1
    while left > 0:
        try:
            part: bytes = stream.read(min(left, _PIECE_BYTES))
        except ClientDisconnected as exc:
            raise ClientGoneError("the client closed the connection") from exc
        if not part:
            return b"".join(parts)
        parts.append(part)
        left -= len(part)
    raise TooLargeError(f"the body has more than {most_bytes} bytes")


def _flask(answer: Answer) -> Response:
    response = Response(answer.body, status=answer.status, content_type=answer.content_type)
    response.headers.extend(answer.headers)
    return response


def _loop_in_thread() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="gateway-loop", daemon=True).start()
    return loop
