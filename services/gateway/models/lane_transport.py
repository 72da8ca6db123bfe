"""The lane's client: a few connections to one socket of this machine, each with one call under way at a time."""

import asyncio
import random
from pathlib import Path
from typing import cast

from services.core.lane import ClientEnd, Code, LaneAnswer, LaneProtocolError, Method
from services.gateway.models.transport import OTHER_PROTOCOL, RETRIED, CallFailedError, Metadata

# As gRPC's retry policy in grpc_transport.py: five attempts.
_PAUSES_S = (0.02, 0.04, 0.08, 0.16)


class LaneWire:
    """Connections are opened as they are needed and kept; there are never more than calls at the same time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()

    async def call(self, method: Method, request: bytes, *, timeout_s: float, metadata: Metadata = ()) -> bytes:
        """As Wire.call; metadata is not sent: there is no proxy between these two processes to read it."""
        timeout_ms = max(1, int(1e3 * timeout_s))
        try:
            async with asyncio.timeout(timeout_s):
                # A question about the status is not repeated here: readiness asks again by itself.
                for pause_s in _PAUSES_S if method is Method.PREDICT else ():
                    try:
                        return await self._attempt(method, timeout_ms, request)
                    except CallFailedError as exc:
                        if exc.code not in RETRIED:
                            raise
                    await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))
                return await self._attempt(method, timeout_ms, request)
        except TimeoutError:
            raise CallFailedError(Code.DEADLINE_EXCEEDED, f"no answer in {timeout_s:.1f} s") from None

    async def close(self) -> None:
        """Hang up; calls in flight fail."""
        for connection in (*self._idle, *self._busy):
            connection.hang_up()

    async def _attempt(self, method: Method, timeout_ms: int, request: bytes) -> bytes:
        connection = self._idle.pop() if self._idle else await self._connect()
        self._busy.add(connection)
        try:
            answer = await connection.ask(method, timeout_ms, request)
        finally:
            self._busy.discard(connection)
            if connection.is_free:
                self._idle.append(connection)
            else:
                connection.hang_up()  # the answer to a call that was given up must not meet the next one
        if answer.code is not Code.OK:
            raise CallFailedError(answer.code, answer.payload.decode(errors="replace"))
        return answer.payload

    async def _connect(self) -> "_Connection":
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_unix_connection(lambda: _Connection(self._idle), str(self._path))
        except OSError as exc:
            raise CallFailedError(Code.UNAVAILABLE, f"cannot connect to {self._path}: {exc.strerror or exc}") from exc
        return connection


class _Connection(asyncio.BufferedProtocol):
    """The socket of one `ClientEnd`; an answer is read straight into the place where it stays."""

    def __init__(self, idle: "list[_Connection]") -> None:
        self._idle = idle
        self._end = ClientEnd()
        self._answer: asyncio.Future[LaneAnswer] | None = None

    @property
    def is_free(self) -> bool:
        """Whether the next call may use it."""
        return not self._end.waiting and not self._transport.is_closing()

    async def ask(self, method: Method, timeout_ms: int, request: bytes) -> LaneAnswer:
        """Send one call and wait for its answer."""
        if self._transport.is_closing():
            raise CallFailedError(Code.UNAVAILABLE, "the model server hung up")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(self._end.call(method, timeout_ms, request))
        return await self._answer

    def hang_up(self) -> None:
        """At once, even with a call under way."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self in self._idle:
            self._idle.remove(self)
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(CallFailedError(Code.UNAVAILABLE, "the model server hung up"))

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._end.space()

    def buffer_updated(self, nbytes: int) -> None:
        try:
            answer = self._end.received(nbytes)
        except LaneProtocolError as exc:
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(CallFailedError(Code.INTERNAL, f"{OTHER_PROTOCOL}: {exc}"))
            self._transport.abort()
            return
        if answer is None or self._answer is None:
            return
        if self._answer.done():  # its caller has gone
            self._transport.abort()
        else:
            self._answer.set_result(answer)
