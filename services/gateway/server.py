"""The gateway as granian runs it: small requests for digits on the event loop, everything else through Flask.

A Flask view costs more than the models do for one digit, so POST /v1/recognize with a small body takes a short cut: the
same edge, decoder, chain, answers and problems, without Flask and without a thread. Tests hold the two ways equal.
"""

import asyncio
import io
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from flask import Flask

from services.core.errors import ServiceError
from services.gateway.answers import Answer
from services.gateway.app import Gateway, create_app
from services.gateway.config import GatewayConfig
from services.gateway.deadlines import Deadline
from services.gateway.door import inflate
from services.gateway.edge import Visit
from services.gateway.problems import problem_of
from services.gateway.routes import RECOGNIZE

SHORT_CUT_BYTES = 16 * 1024  # larger bodies take long to decode, which must not happen on the loop
_FLASK_THREADS = 8


class Server:
    """An RSGI application: granian calls `__rsgi_init__` once in each worker, then `__rsgi__` for each request."""

    def __init__(self, config: GatewayConfig, *, draining: Callable[[], bool] = lambda: False) -> None:
        self._config = config
        self._limits = config.limits
        self._draining = draining
        self._threads = ThreadPoolExecutor(_FLASK_THREADS, "flask")

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Build the application on the worker's own loop; channels are opened here, after any fork."""
        self._app: Flask = create_app(self._config, loop=loop, draining=self._draining)
        self._gateway: Gateway = self._app.extensions["gateway"]

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let go of the model servers."""
        loop.run_until_complete(self._gateway.reader.close())

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """One request."""
        length = scope.headers.get("content-length")
        if scope.path == RECOGNIZE and scope.method == "POST" and length and int(length) <= SHORT_CUT_BYTES:
            await self._recognize(scope, protocol)
        else:
            await self._through_flask(scope, protocol, length)

    async def _recognize(self, scope: Any, protocol: Any) -> None:
        edge = self._gateway.edge
        header = scope.headers.get
        visit = edge.enter("POST", RECOGNIZE, header, _address(scope))
        visit.route = RECOGNIZE
        try:
            deadline = edge.admit(visit, header)
            answer = await self._read(visit, deadline, await protocol(), scope)
        except ServiceError as error:
            edge.refused(error)
            answer = problem_of(error, path=RECOGNIZE, request_id=visit.request_id)
        headers = [("content-type", answer.content_type), ("x-request-id", visit.request_id), *answer.headers]
        protocol.response_bytes(answer.status, headers, answer.body)
        edge.leave(visit, answer.status)

    async def _read(self, visit: Visit, deadline: Deadline, body: bytes, scope: Any) -> Answer:
        header = scope.headers.get
        encoding = header("content-encoding")
        if encoding:
            body = inflate(body, encoding.lower(), self._limits)
        query = dict(parse_qsl(scope.query_string, keep_blank_values=True)) if scope.query_string else {}
        recognize = self._gateway.recognize
        images, options = recognize.decode(visit, body, header("content-type"), query)
        reading = await self._gateway.reader.read(
            images, denoise=options.denoise, deadline=deadline, metadata=visit.metadata
        )
        return recognize.answer(visit, images, options, reading, header("accept"))

    async def _through_flask(self, scope: Any, protocol: Any, length: str | None) -> None:
        body = await protocol()
        loop = asyncio.get_running_loop()
        environ = _environ(scope, body)
        status, headers, parts = await loop.run_in_executor(self._threads, _call_wsgi, self._app, environ)
        protocol.response_bytes(status, headers, parts)


def _address(scope: Any) -> str:
    return scope.client.rpartition(":")[0]


def _environ(scope: Any, body: bytes) -> dict[str, Any]:
    """A WSGI environment for a request that is wholly here."""
    host, _, port = scope.server.rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode().decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": _address(scope),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
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


def _call_wsgi(app: Callable[..., Iterable[bytes]], environ: dict[str, Any]) -> tuple[int, list, bytes]:
    """Run a WSGI application to its end."""
    started: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> None:
        started[:] = [int(status.split(" ", 1)[0]), headers]

    parts = app(environ, start_response)
    try:
        body = b"".join(parts)
    finally:
        if hasattr(parts, "close"):
            parts.close()
    return started[0], started[1], body
