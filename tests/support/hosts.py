"""The gateway behind each host, on a socket: the HTTP server that production runs, and Flask under any other."""

import asyncio
import http.client
import socket
import threading
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import uvloop
from flask.testing import FlaskClient
from werkzeug.serving import make_server

from services.gateway.app import create_app
from services.gateway.gateway import Gateway
from services.gateway.server.http import HttpServer

HOSTS = ("http", "flask")


@dataclass(frozen=True)
class Reply:
    """What came back; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Host:
    """A gateway that listens."""

    port: int
    gateway: Gateway
    server: HttpServer | None = None  # where this is its host

    def ask(
        self,
        path: str,
        *,
        method: str = "POST",
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        chunked: bool = False,
    ) -> Reply:
        """One request on a connection of its own; `headers` may hold a list of lines under one name."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.putrequest(method, path, skip_host="host" in (headers or {}), skip_accept_encoding=True)
            for name, value in (headers or {}).items():
                for line in value if isinstance(value, list) else [value]:
                    connection.putheader(name, line)
            if chunked:
                connection.putheader("Transfer-Encoding", "chunked")
                body = b"".join(
                    b"%x\r\n%b\r\n" % (len(part), part)
                    for part in [body[start : start + 1000] for start in range(0, len(body), 1000)]
                )
                connection.endheaders(body + b"0\r\n\r\n")
            else:
                if method == "POST":
                    connection.putheader("Content-Length", str(len(body)))
                connection.endheaders(body)
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def together(self, *questions: tuple[str, Mapping[str, Any]]) -> list[Reply]:
        """Many at the same time."""
        with ThreadPoolExecutor(len(questions)) as threads:
            return list(threads.map(lambda question: self.ask(question[0], **question[1]), questions))


@contextmanager
def running(kind: str, gateway: Gateway) -> Iterator[Host]:
    """`gateway` behind a host, until the block ends."""
    with _loop() as run, socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        if kind == "http":
            server = HttpServer(gateway)
            run(server.start(sock.dup()))
            try:
                yield Host(port, gateway, server)
            finally:
                run(server.stop(0.5))
                run(gateway.close())
        else:
            app = create_app(gateway, run.loop)
            wsgi = make_server("127.0.0.1", port, app, threaded=True, fd=sock.fileno())
            thread = threading.Thread(target=wsgi.serve_forever, args=(0.01,))
            thread.start()
            try:
                yield Host(port, gateway)
            finally:
                wsgi.shutdown()
                thread.join()
                wsgi.server_close()
                run(gateway.close())


@contextmanager
def grpc_running(gateway: Gateway) -> Iterator[int]:
    """The port of `gateway` behind its gRPC server, until the block ends."""
    from services.gateway.server.grpc_server import GrpcServer

    with _loop() as run:
        server = GrpcServer(gateway)
        port = run(server.start("127.0.0.1", 0))
        try:
            yield port
        finally:
            run(server.stop(0.5))
            run(gateway.close())


@contextmanager
def flask_client(gateway: Gateway) -> Iterator[FlaskClient]:
    """Flask's own client of the application, without a socket, until the block ends."""
    with _loop() as run:
        try:
            yield create_app(gateway, run.loop).test_client()
        finally:
            run(gateway.close())


class _Run:
    """Runs a coroutine on a loop in a thread, and waits for it."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()

    def __call__(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(20)


@contextmanager
def _loop() -> Iterator[_Run]:
    run = _Run()
    thread = threading.Thread(target=run.loop.run_forever)
    thread.start()
    try:
        yield run
    finally:
        run.loop.call_soon_threadsafe(run.loop.stop)
        thread.join()
        run.loop.run_until_complete(run.loop.shutdown_default_executor())
        run.loop.close()
