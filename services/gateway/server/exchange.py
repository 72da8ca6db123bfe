"""One request as it arrives on a connection: its head, and its body, held until its operation asks for it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import unquote_to_bytes

import httptools

from services.core.errors import TooLargeError
from services.gateway.admission.context import Request

if TYPE_CHECKING:
    from services.gateway.server.connection import Connection

KEEP_ALIVE, CLOSE = b"connection: keep-alive\r\n", b"connection: close\r\n"


class Exchange:
    """One request as it arrives."""

    __slots__ = (
        "_parts", "complete", "connection", "error", "expects_continue", "headers", "held", "keep_alive", "method",
        "path", "persistence", "query", "request", "size", "started_s", "task", "waiter", "wanted",
    )  # fmt: skip

    def __init__(
        self, connection: Connection, method: str, url: bytes, headers: dict[str, str], keep_alive: bool
    ) -> None:
        self.connection = connection
        self.method = method
        self.path, self.query = _split(url)
        self.headers = headers
        self.keep_alive = keep_alive
        # A client of HTTP/1.0 that asks for it must be told, or it waits for the connection's end.
        self.persistence = KEEP_ALIVE if "keep-alive" in headers.get("connection", "").lower() else b""
        self.expects_continue = headers.get("expect", "").lower() == "100-continue"
        self.started_s = connection.server.now()
        self.request: Request | None = None
        self.task: asyncio.Task[None] | None = None
        self.size = 0
        self.held = 0  # bytes that count against what the server may hold
        self.wanted = False
        self.complete = False
        self.error: Exception | None = None
        self.waiter: asyncio.Future[None] | None = None
        self._parts: list[bytes] = []

    @property
    def has_body(self) -> bool:
        """Whether the head promises a body."""
        return "transfer-encoding" in self.headers or self.headers.get("content-length", "0") != "0"

    def body_head(self) -> bytes:
        """A head that says no more than how the body is framed."""
        name = "transfer-encoding" if "transfer-encoding" in self.headers else "content-length"
        return f"POST / HTTP/1.1\r\n{name}: {self.headers[name]}\r\n\r\n".encode("latin-1")

    async def receive(self) -> bytes:
        """The whole body, or a ServiceError when it is too large, breaks off or stalls."""
        self.wanted = True
        if not self.complete and self.error is None:
            self.connection.body_is_wanted(self)
            self.waiter = asyncio.get_running_loop().create_future()
            await self.waiter
        if self.error is not None:
            raise self.error
        parts, self._parts = self._parts, []
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def feed(self, data: bytes) -> None:
        """More of the body."""
        if self.error is not None:
            return
        self.size += len(data)
        server = self.connection.server
        if self.size > server.limits.max_body_bytes:
            self.fail(TooLargeError(f"the body has more than {server.limits.max_body_bytes} bytes"))
            return
        overload = server.hold(self)
        if overload is not None:
            self.fail(overload)
            return
        self._parts.append(data)

    def end(self) -> None:
        """The body is complete."""
        self.complete = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The body will not come, or is not wanted any more."""
        self.error = error
        self._parts = []
        self._wake()

    def _wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)


def _split(url: bytes) -> tuple[str, str]:
    """Path and query of a request's target, which may be a whole URL."""
    if not url.startswith(b"/"):
        try:
            parsed = httptools.parse_url(url)
        except httptools.HttpParserInvalidURLError:
            return url.decode("latin-1"), ""
        path, query = parsed.path or b"/", parsed.query or b""
    else:
        path, _, query = url.partition(b"#")[0].partition(b"?")
    if b"%" in path:
        path = unquote_to_bytes(path)
    return path.decode("utf-8", "replace"), query.decode("latin-1")
