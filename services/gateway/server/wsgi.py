"""Run a WSGI application from an event loop, in a thread, for a request whose body is wholly here."""

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from services.gateway.reading.reader import Calls, calls_of_thread

App = Callable[[dict[str, Any], Callable[..., object]], Iterable[bytes]]

ARRIVED = "cleardigits.arrived_s"  # environ: when the request arrived, on the monotonic clock


@dataclass(frozen=True, slots=True)
class WsgiAnswer:
    """What the application answered."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


async def run_wsgi(app: App, environ: dict[str, Any], threads: Executor, calls: Calls) -> WsgiAnswer:
    """The answer of `app`, which runs in one of `threads`; `calls` gathers what it waits for on the loop."""
    return await asyncio.get_running_loop().run_in_executor(threads, _call, app, environ, calls)


def environ_of(scope: Any, body: bytes, *, arrived_s: float) -> dict[str, Any]:
    """A WSGI environment for an RSGI scope."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": address_of(scope),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        ARRIVED: arrived_s,
    }
    for name, value in scope.headers.items():
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key != "CONTENT_LENGTH":
            variable = f"HTTP_{key}"
            environ[variable] = f"{environ[variable]},{value}" if variable in environ else value
    if scope.authority and "HTTP_HOST" not in environ:
        environ["HTTP_HOST"] = scope.authority
    return environ


def address_of(scope: Any) -> str:
    """The client's address without its port."""
    return scope.client.rpartition(":")[0]


def _call(app: App, environ: dict[str, Any], calls: Calls) -> WsgiAnswer:
    calls_of_thread.set(calls)
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: object = None) -> None:
        started[:] = [int(status.split(" ", 1)[0]), headers]

    parts = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    return WsgiAnswer(started[0], started[1], body)
