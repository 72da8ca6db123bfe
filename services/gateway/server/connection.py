"""One connection: bytes -> requests in order -> answers. httptools parses; the limits of time and size are here.

A connection is in one state at a time, and every state but BUSY has a time limit that the server's sweep enforces. BUSY
ends with the request's own deadline.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools

from services.core.errors import ClientGoneError, InvalidInputError
from services.gateway.admission.context import Answer
from services.gateway.server.exchange import CLOSE, Exchange

if TYPE_CHECKING:
    from services.gateway.server.http import HttpServer

log = logging.getLogger(__name__)

MOST_HEAD_BYTES = 64 * 1024
MOST_HEADERS = 100
MOST_URL_BYTES = 16 * 1024
UNREAD_BODY_BYTES = 64 * 1024  # kept of a body before its operation asks for it
MOST_DISCARDED_BYTES = 64 * 1024 * 1024  # read and dropped after a refusal, so that the client can read the answer

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_STATUS_LINES = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode("ascii") for status in HTTPStatus
} | {499: b"HTTP/1.1 499 Client Closed Request\r\n"}
_NO_BODY = (204, 304)


class State(Enum):
    """What a connection waits for."""

    FRESH = "its first request"
    HEAD = "the rest of a request's head"
    BODY = "the rest of a request's body"
    BUSY = "an operation"
    FLUSH = "the client to read an answer"
    IDLE = "another request"
    LINGER = "the client to stop sending a body that was refused"


class Connection(asyncio.Protocol):
    """Requests of one client, answered in the order they came in."""

    def __init__(self, server: HttpServer) -> None:
        self.server = server
        self.address = ""
        self.state = State.FRESH
        self.since_s = 0.0  # when the state began; for BODY and FLUSH: when something moved last
        self._parser = httptools.HttpRequestParser(self)
        self._head_bytes = 0  # that came since the last head or body ended, or a part of a body came
        self._url = b""
        self._headers: dict[str, str] = {}
        self._header_count = 0
        self._current: Exchange | None = None  # being answered
        self._arriving: Exchange | None = None  # its body is still arriving; often the same
        self._queue: deque[Exchange] = deque()
        self._reading_is_paused = False
        self._writing_is_paused = False
        self._unwritten = 0
        self._discarded = 0
        self._bad = False
        self._interrupted: Exchange | None = None  # the parser stopped before its body

    # What the event loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else ""
        self._enter(State.FRESH)
        self.server.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.lost(self)
        for exchange in {each for each in (self._current, self._arriving, *self._queue) if each is not None}:
            if exchange.request is not None:
                exchange.request.client_gone = True
            exchange.fail(ClientGoneError("the client closed the connection"))
            if exchange.task is not None and exchange.complete:
                exchange.task.cancel()
            self.server.release(exchange)
        self._queue.clear()

    def data_received(self, data: bytes) -> None:
        if self.state is State.LINGER or self._bad:
            self._discarded += len(data)
            if self._discarded > MOST_DISCARDED_BYTES:
                self._transport.abort()
            return
        if self.state in (State.FRESH, State.IDLE):
            self._enter(State.HEAD)
        elif self.state is State.BODY:
            self.since_s = self.server.now()
        self._head_bytes += len(data)
        self._parse(data)
        if self._head_bytes > MOST_HEAD_BYTES and not self._bad:  # also a head that is sent ahead, and trailers
            self._refuse(431, "the headers of the request are too large")

    def eof_received(self) -> bool:
        return False  # a client that closes its side is gone: its work is dropped

    def pause_writing(self) -> None:
        self._writing_is_paused = True

    def resume_writing(self) -> None:
        self._writing_is_paused = False
        if self.state is State.FLUSH:
            self._next()

    # What the parser calls

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._header_count = 0

    def on_url(self, url: bytes) -> None:
        self._url += url
        if len(self._url) > MOST_URL_BYTES:
            raise _HeadError(414, "the address is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_count += 1
        if self._header_count > MOST_HEADERS:
            raise _HeadError(431, f"more than {MOST_HEADERS} headers")
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]},{text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        self._head_bytes = 0
        parser = self._parser
        if self._interrupted is not None:
            self._arriving, self._interrupted = self._interrupted, None
            return
        if "host" not in self._headers and parser.get_http_version() == "1.1":
            raise _HeadError(400, "no Host header")
        exchange = Exchange(
            self, parser.get_method().decode("ascii"), self._url, self._headers, parser.should_keep_alive()
        )
        self._arriving = exchange
        if self._current is None:
            self._start(exchange)
        else:
            self._queue.append(exchange)

    def on_body(self, body: bytes) -> None:
        self._head_bytes = 0
        exchange = self._arriving
        if exchange is not None:
            exchange.feed(body)
            if not exchange.wanted and exchange.size > UNREAD_BODY_BYTES:
                self._pause_reading()

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        if self._parser.should_upgrade() and self._arriving is not None and self._arriving.has_body:
            self._interrupted, self._arriving = self._arriving, None
            return
        if self._arriving is not None:
            self._arriving.end()
            self._arriving = None
        if self.state is State.BODY:
            self._enter(State.BUSY)
        if self._queue:
            self._pause_reading()  # until what was sent ahead is answered

    # What the server and exchanges call

    def body_is_wanted(self, exchange: Exchange) -> None:
        """The operation of `exchange` waits for its body."""
        if exchange.expects_continue and not exchange.size:
            self._transport.write(_CONTINUE)
        self._enter(State.BODY)
        self._resume_reading()

    def overdue(self, now_s: float) -> None:
        """Called about once a second: end what takes too long."""
        limit_s = self.server.time_limits.get(self.state)
        if self.state is State.FLUSH:
            unwritten = self._transport.get_write_buffer_size()
            if unwritten != self._unwritten:
                self._unwritten, self.since_s = unwritten, now_s
        if limit_s is None or now_s - self.since_s < limit_s:
            return
        if self.state is State.HEAD:
            self._refuse(408, "the head of the request did not arrive in time")
        elif self.state is State.BODY and self._current is not None:
            self._current.fail(self.server.stalled_body())
        elif self.state in (State.FRESH, State.IDLE):
            self.close()
        else:
            self._transport.abort()

    def close(self) -> None:
        """Close when what was written has left."""
        self._enter(State.FLUSH)
        self._bad = True
        self._unwritten = self._transport.get_write_buffer_size()
        self._transport.close()

    def answer_and_close(self, head_and_body: bytes) -> None:
        """Say something that is no answer to a request, and close."""
        self._transport.write(head_and_body)
        self.close()

    def stop(self) -> None:
        """The server is stopping: close unless a request is under way; the last answer says so."""
        if self.state in (State.FRESH, State.HEAD, State.IDLE):
            self.close()

    def cancel(self) -> None:
        """The time for stopping is up."""
        if self._current is not None and self._current.task is not None:
            self._current.task.cancel()

    # Requests and answers

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as exc:
            # Another protocol is offered (curl --http2 does so); none is spoken here, so the request is as it is. The
            # parser has stopped before its body: another one is told of the body alone.
            self._parser = httptools.HttpRequestParser(self)
            head = b"" if self._interrupted is None else self._interrupted.body_head()
            self._parse(head + data[exc.args[0] :])
        except httptools.HttpParserCallbackError as exc:
            if not isinstance(exc.__context__, _HeadError):
                raise
            self._refuse(exc.__context__.status, str(exc.__context__))
        except httptools.HttpParserError as exc:
            self._refuse(400, f"not HTTP/1.1: {exc}")

    def _refuse(self, status: int, detail: str) -> None:
        """What cannot be taken for a request is answered and the connection closed."""
        self._bad = True
        if self._arriving is not None:
            self._arriving.fail(InvalidInputError(detail))
        if self._current is not None or self._queue:  # an earlier request is answered first
            self._queue.clear()
            if self._current is not None:
                self._current.keep_alive = False
            return
        answer, request_id = self.server.malformed(self, status, detail)
        self._transport.write(self._written(answer, request_id, head_only=False, persistence=CLOSE))
        self._linger()

    def _start(self, exchange: Exchange) -> None:
        self._current = exchange
        self._enter(State.BUSY)
        exchange.task = self.server.loop.create_task(self._answer(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        try:
            answer, request_id = await self.server.answer(exchange)
        except Exception:  # a mistake of ours outside of any operation: the connection must not wait for ever
            log.exception("a request without an answer")
            self._transport.abort()
            return
        finally:
            self.server.release(exchange)
        if self._transport.is_closing():
            return
        keep_alive = exchange.keep_alive and exchange.complete and not self.server.stopping and not self._bad
        persistence = exchange.persistence if keep_alive else CLOSE
        self._transport.write(self._written(answer, request_id, exchange.method == "HEAD", persistence))
        self._current = None
        if keep_alive:
            if self._writing_is_paused:
                self._enter(State.FLUSH)
            else:
                self._next()
        elif exchange.complete:
            self.close()
        else:
            self._linger()

    def _next(self) -> None:
        """The next request that has been sent ahead, or wait for one."""
        if self._queue:
            self._start(self._queue.popleft())
        else:
            self._enter(State.IDLE)
        if not self._queue:
            self._resume_reading()

    def _linger(self) -> None:
        """Say that all is said, and drop what still comes: closing at once could destroy the answer on its way."""
        self._enter(State.LINGER)
        self._arriving = None
        self._resume_reading()
        if self._transport.can_write_eof():
            self._transport.write_eof()

    def _written(self, answer: Answer, request_id: str, head_only: bool, persistence: bytes) -> bytes:
        lines = [
            _STATUS_LINES.get(answer.status) or f"HTTP/1.1 {answer.status} \r\n".encode("ascii"),
            self.server.date_line(),
            f"x-request-id: {request_id}\r\n".encode("latin-1"),
        ]
        if answer.content_type:
            lines.append(f"content-type: {answer.content_type}\r\n".encode("latin-1", "replace"))
        for name, value in answer.headers:
            lines.append(f"{name}: {value}\r\n".encode("latin-1", "replace"))
        has_body = answer.status not in _NO_BODY
        if has_body:
            lines.append(b"content-length: %d\r\n" % len(answer.body))
        lines.append(persistence + b"\r\n")
        if has_body and not head_only:
            lines.append(answer.body)
        return b"".join(lines)

    def _enter(self, state: State) -> None:
        self.state = state
        self.since_s = self.server.now()
        self.server.entered(self, state)

    def _pause_reading(self) -> None:
        if not self._reading_is_paused and not self._transport.is_closing():
            self._reading_is_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._reading_is_paused and not self._transport.is_closing():
            self._reading_is_paused = False
            self._transport.resume_reading()


class _HeadError(Exception):
    """A head that is refused while it is parsed."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
