"""The gateway's gRPC server: calls -> the operations of api/oip_grpc.py. The only file that serves gRPC.

Methods are registered as if they took a stream: a message is then read when its operation asks for it, after its
metadata were judged, as a body of HTTP is. On the wire a call with one message is the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
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
from services.gateway.server.held import HELD_BODIES, SMALL_BODY_BYTES, HeldBodies

log = logging.getLogger(__name__)

QUICK_READS = 64  # messages that arrive at the same time
QUICK_S = 0.05  # a message that takes longer is a slow one, of which there may be HELD_BODIES
_KEEPALIVE_MS = 30_000  # a client that does not answer a ping is gone
_KEEPALIVE_TIMEOUT_MS = 10_000
_FOR_ANSWERS_S = 0.5
_LOOK_S = 0.25  # between two looks whether grpc's server still runs
_CODES = {code.value[0]: code for code in grpc.StatusCode}

Context = grpc.aio.ServicerContext[Any, Any]


class GrpcServer:
    """The calls of one worker process. `start` on the loop where the gateway lives."""

    def __init__(self, gateway: Gateway, held: HeldBodies | None = None) -> None:
        """`held` is shared with whatever else reads bodies in this process."""
        self._gateway = gateway
        self._held = held or HeldBodies(gateway.limits.max_body_bytes)
        self._quick = asyncio.Semaphore(QUICK_READS)
        self._slow = asyncio.Semaphore(HELD_BODIES)
        self._calls: dict[asyncio.Task[Any], Request] = {}

    async def start(self, host: str, port: int) -> int:
        """Listen beside the other workers; the port, which is another than `port` where that is 0."""
        address = f"[{host}]" if ":" in host else host
        self._server = self._built()
        bound = self._server.add_insecure_port(f"{address}:{port}")
        await self._server.start()
        self._watching = asyncio.create_task(self._watch(f"{address}:{bound}"))
        return bound

    async def _watch(self, address: str) -> None:
        """Another server in the place of one that ended by itself.

        grpc.aio ends, with all its calls, at a method's path that is not UTF-8 (grpcio 1.85): one request would take
        the port away for ever. Its end is complete only when the client that sent it has gone, so it is looked for.
        """
        while True:
            ended = asyncio.ensure_future(self._server.wait_for_termination(_LOOK_S))
            await asyncio.wait((ended,))
            if ended.exception() is None and ended.result():  # the time is up, and it runs
                continue
            log.error("the gRPC server ended, another one starts", extra={"reason": str(ended.exception())})
            self._server = self._built()
            self._server.add_insecure_port(address)
            await self._server.start()

    def _built(self) -> grpc.aio.Server:
        config, most_bytes = self._gateway.config, self._gateway.limits.max_body_bytes
        server = grpc.aio.server(
            options=(
                ("grpc.so_reuseport", 1),
                ("grpc.max_receive_message_length", most_bytes),  # also once compression is undone
                ("grpc.max_send_message_length", -1),  # the answer's own limit is that of /v2
                ("grpc.max_allowed_incoming_connections", config.max_connections),
                ("grpc.max_concurrent_streams", config.max_connections),
                ("grpc.server_handshake_timeout_ms", int(1e3 * config.header_timeout_s)),
                ("grpc.max_connection_idle_ms", int(1e3 * config.idle_timeout_s)),
                ("grpc.keepalive_time_ms", _KEEPALIVE_MS),
                ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ),
            maximum_concurrent_rpcs=config.max_connections,
        )
        server.add_generic_rpc_handlers((_Service(self),))
        return server

    @property
    def operations(self) -> Mapping[str, Operation]:
        """By method path."""
        return {operation.rule: operation for operation in self._gateway.grpc_operations}

    async def stop(self, grace_s: float) -> None:
        """Accept no more, let calls under way finish, cancel what is left when the time is up."""
        self._watching.cancel()
        stopping = asyncio.ensure_future(self._server.stop(grace_s + _FOR_ANSWERS_S))
        await asyncio.wait((stopping,), timeout=grace_s)
        for call, request in list(self._calls.items()):
            request.client_gone = False  # it is we who give it up, and say so
            call.cancel()
        await stopping

    async def answer(self, operation: Operation, _messages: object, context: Context) -> bytes:
        """The answer to one call; anything but OK is raised, as gRPC wants it."""
        request = self._gateway.admission.enter(
            "POST", operation.rule, "", _headers(context), _address(context.peer()), time.monotonic()
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
            raise asyncio.CancelledError  # nobody reads the answer
        trailing = [("x-request-id", request.id), *((name.lower(), value) for name, value in answer.headers)]
        if answer.code is not Code.OK:
            try:
                await context.abort(_CODES[int(answer.code)], answer.detail, tuple(trailing))
            except grpc.aio.InternalError:  # the connection was closed just now
                raise asyncio.CancelledError from None
        context.set_trailing_metadata(tuple(trailing))
        return answer.body

    async def read(self, context: Context) -> bytes:
        """The message of a call. How long it is shows only at its end, so slow ones are few, and each may be large."""
        message: asyncio.Future[Any] = asyncio.ensure_future(context.read())
        try:
            async with self._quick:
                await asyncio.wait((message,), timeout=QUICK_S)
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


class _Service(grpc.GenericRpcHandler):
    """Method path -> handler; messages are bytes, which operations parse."""

    def __init__(self, server: GrpcServer) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            path: grpc.stream_unary_rpc_method_handler(partial(server.answer, operation))
            for path, operation in server.operations.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        """The handler of a method; None is UNIMPLEMENTED."""
        return self._handlers.get(handler_call_details.method)


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
