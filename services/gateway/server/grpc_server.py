"""The gateway's gRPC server: calls -> the operations of api/oip_grpc.py.

Methods are registered as if they took a stream: a message is then read when its operation asks for it, after its
metadata were judged, as a body of HTTP is. On the wire a call with one message is the same.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import unquote

import grpc

from services.core.errors import InvalidInputError, OverloadedError
from services.core.lane import Code
from services.gateway.admission.context import Request
from services.gateway.api.operations import Operation
from services.gateway.deadlines import HEADER
from services.gateway.gateway import Gateway
from services.gateway.server.grpc_calls import CallServer, Context
from services.gateway.server.grpc_reflection import Reflection
from services.gateway.server.held import HELD_BODIES, SMALL_BODY_BYTES, HeldBodies

log = logging.getLogger(__name__)

QUICK_S = 0.5  # a message that takes longer is a slow one, of which there may be HELD_BODIES
_STEP_S = 0.02  # QUICK_S is counted in such steps: one that ends late, on a machine that is busy, counts no more
_KEEPALIVE_MS = 30_000  # a client that does not answer a ping is gone
_KEEPALIVE_TIMEOUT_MS = 10_000
_FOR_ANSWERS_S = 0.5
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcServer:
    """The calls of one worker process. `start` on the loop where the gateway lives."""

    def __init__(
        self, gateway: Gateway, held: HeldBodies | None = None, *, failed: Callable[[], None] = lambda: None
    ) -> None:
        """`held` is shared with all else that reads bodies in this process; `failed` is told if it ends by itself."""
        self._gateway = gateway
        self._held = held or HeldBodies(gateway.limits.max_body_bytes)
        self._failed = failed
        self._most_calls = gateway.config.max_connections
        self._slow = asyncio.Semaphore(HELD_BODIES)
        self._calls: dict[asyncio.Task[Any], Request] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen beside the other workers; the port, which is another than `port` where that is 0."""
        config, most_bytes = self._gateway.config, self._gateway.limits.max_body_bytes
        self._server = CallServer(
            {path: partial(self.answer, operation) for path, operation in self.operations.items()},
            streams=Reflection().streams(),
            options=(
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", most_bytes),  # also once compression is undone
                ("grpc.max_send_message_length", -1),  # the answer's own limit is that of /v2
                ("grpc.max_allowed_incoming_connections", config.max_connections),
                ("grpc.max_concurrent_streams", config.max_connections),
                # Calls that no turn of the event loop has accepted yet: so many, and so long, then they are cancelled.
                ("grpc.server.max_pending_requests", config.max_connections),
                ("grpc.server.max_pending_requests_hard_limit", config.max_connections),
                ("grpc.server_max_unrequested_time_in_server", math.ceil(config.request_timeout_ms / 1e3)),
                ("grpc.server_handshake_timeout_ms", int(1e3 * config.header_timeout_s)),
                ("grpc.max_connection_idle_ms", int(1e3 * config.idle_timeout_s)),
                ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
                ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ),
            failed=self._ended,
        )
        bound = self._server.listen(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        await self._server.start()
        return bound

    def _ended(self, reason: BaseException) -> None:
        log.error("the gRPC server ended", extra={"reason": repr(reason)})
        self._failed()

    @property
    def operations(self) -> Mapping[str, Operation]:
        """By method path."""
        return {operation.rule: operation for operation in self._gateway.grpc_operations}

    async def stop(self, grace_s: float) -> None:
        """Accept no more, let calls under way finish, cancel what is left when the time is up."""
        stopping = asyncio.ensure_future(self._server.shutdown(grace_s + _FOR_ANSWERS_S))
        await asyncio.wait((stopping,), timeout=grace_s)
        for call, request in list(self._calls.items()):
            request.client_gone = False  # it is we who give it up, and say so
            call.cancel()
        await stopping

    async def answer(self, operation: Operation, _messages: object, context: Context, /, *, arrived_s: float) -> bytes:
        """The answer to one call; anything but OK is raised, as gRPC wants it."""
        request = self._gateway.admission.enter(
            "POST", operation.rule, "", _headers(context), _address(context.peer()), arrived_s
        )
        # While this server runs, a call is cancelled when its client is gone, or by gRPC when its message is too large.
        request.client_gone = True
        call = asyncio.current_task()
        assert call is not None
        self._calls[call] = request
        reading = _Reading(self, context)
        try:
            answer = await self._gateway.respond(request, operation, reading.message)
        finally:
            reading.close()
            del self._calls[call]
        if call.cancelling() and request.client_gone:
            raise asyncio.CancelledError  # the caller is gone
        trailing = [("x-request-id", request.id), *((name.lower(), value) for name, value in answer.headers)]
        if answer.code is not Code.OK:
            await context.abort(_CODES[int(answer.code)], answer.detail, tuple(trailing))
        context.set_trailing_metadata(tuple(trailing))
        return answer.body

    async def read(self, context: Context) -> bytes:
        """The message of a call. How long it is shows only at its end, so slow ones are few, and each may be large."""
        if len(self._calls) > self._most_calls:
            raise OverloadedError("too many calls", retry_after_s=1.0)
        message: asyncio.Future[Any] = asyncio.ensure_future(context.read())
        try:
            for _ in range(round(QUICK_S / _STEP_S)):
                await asyncio.wait((message,), timeout=_STEP_S)
                if message.done():
                    break
            if not message.done():
                if self._slow.locked():
                    raise OverloadedError("too many messages arrive slowly", retry_after_s=1.0)
                async with self._slow:
                    await asyncio.wait((message,))
            found = message.result()
        finally:
            message.cancel()
        if not isinstance(found, bytes):
            raise InvalidInputError("the call has no message")
        return found

    def hold(self, size: int) -> int:
        """Count memory for a message; what was counted, or OverloadedError."""
        if size <= SMALL_BODY_BYTES:
            return 0
        overload = self._held.take(size)
        if overload is not None:
            raise overload
        return size

    def release(self, held: int) -> None:
        """The call is answered."""
        self._held.give_back(held)


class _Reading:
    """The message of one call, and the memory that it holds."""

    def __init__(self, server: GrpcServer, context: Context) -> None:
        self._server = server
        self._context = context
        self._held = 0

    async def message(self) -> bytes:
        """As Receive in operations.py."""
        message = await self._server.read(self._context)
        self._held = self._server.hold(len(message))
        return message

    def close(self) -> None:
        """The call is answered."""
        self._server.release(self._held)


def _headers(context: Context) -> dict[str, str]:
    """The call's metadata as headers, its deadline as the one that HTTP has."""
    headers: dict[str, str] = {}
    for name, value in context.invocation_metadata() or ():
        if isinstance(value, str):
            headers[name] = f"{headers[name]},{value}" if name in headers else value
    remaining_s = context.time_remaining()
    if remaining_s is not None:
        headers[HEADER.lower()] = str(min(max(int(1e3 * remaining_s), 1), 10**9 - 1))
    return headers


def _address(peer: str) -> str:
    """`ipv4:127.0.0.1:5000` or `ipv6:%5B::1%5D:5000` -> the address alone."""
    kind, _, rest = peer.partition(":")
    return unquote(rest).rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""
