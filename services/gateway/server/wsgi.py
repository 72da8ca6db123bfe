"""Run a WSGI application from an event loop, in a thread, for requests whose body it does not need."""

import io
import sys
from collections.abc import Callable, Iterable
from typing import Any

from services.gateway.admission.context import Answer, Request

App = Callable[[dict[str, Any], Any], Iterable[bytes]]

_SET_BY_THE_HOST = frozenset(("content-type", "content-length", "x-request-id"))


def call(app: App, request: Request, *, server: tuple[str, int], extra: dict[str, Any]) -> Answer:
    """The answer of `app`; it blocks, so it belongs in a thread."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        started[:] = [int(status.split(" ", 1)[0]), headers]

    parts = app(_environ(request, server) | extra, start_response)
    try:
        body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    status, headers = started
    content_type = next((value for name, value in headers if name.lower() == "content-type"), "")
    kept = tuple((name, value) for name, value in headers if name.lower() not in _SET_BY_THE_HOST)
    return Answer(status, body, content_type, kept)


def _environ(request: Request, server: tuple[str, int]) -> dict[str, Any]:
    environ: dict[str, Any] = {
        # The body of an answer to HEAD is left out by the connection, which says how long it would be.
        "REQUEST_METHOD": "GET" if request.method == "HEAD" else request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": request.query_string,
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.client,
        "CONTENT_LENGTH": "0",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in request.headers.items():
        if name == "content-type":
            environ["CONTENT_TYPE"] = value
        elif name not in ("content-length", "transfer-encoding"):
            environ[f"HTTP_{name.upper().replace('-', '_')}"] = value
    return environ
