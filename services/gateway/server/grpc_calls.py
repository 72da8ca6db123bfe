"""Accepting gRPC calls: many at once, each with the moment it came, with any bytes as the name of its method.

grpc.aio's own loop accepts one call in several turns of the event loop: beside a busy HTTP server calls waited for
seconds before their handler began. It also ends for good at a method's path that is not UTF-8 (grpcio 1.85, and the
main branch of 2026-10). Both are avoided by methods that are registered, whose paths only the core compares, and by
requesting ACCEPTED_AT_ONCE calls of each. This uses parts of grpcio that are not public: tests meet each of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import grpc
from grpc._cython import cygrpc  # type: ignore[attr-defined]

ACCEPTED_AT_ONCE = 32  # of each method, in one turn of the event loop
UNKNOWN = ""  # stands for all methods that are not registered

Context = grpc.aio.ServicerContext[Any, Any]


class Handler(Protocol):
    """Answers one call, which came at a moment on the monotonic clock."""

    def __call__(self, _messages: object, context: Context, /, *, arrived_s: float) -> Coroutine[Any, Any, bytes]:
        """The answer; anything but OK is raised."""


class Stream(Protocol):
    """Answers one call of many messages, by its context's `read` and `write`."""

    def __call__(self, _messages: object, context: Context, /) -> Coroutine[Any, Any, None]:
        """To its end."""


if TYPE_CHECKING:

    class _Core:
        """What is used of grpcio's class, which has no types."""

        def __init__(self, *_: object) -> None: ...
        def add_insecure_port(self, address: bytes) -> int: ...
        def add_registered_method_handlers(self, handlers: Mapping[str, None]) -> None: ...
        async def start(self) -> None: ...
        async def shutdown(self, grace_s: float | None) -> None: ...
        async def _request_call(self) -> object: ...
        async def _request_registered_call(self, method: bytes) -> object: ...
        def _serving_task_crash_handler(self, task: asyncio.Task[None]) -> None: ...
else:
    _Core = cygrpc.AioServer


class CallServer(_Core):
    """Listens, and runs a handler for each call of a method that is known."""

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        *,
        streams: Mapping[str, Stream] | None = None,
        options: tuple[tuple[str, int], ...],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`handlers` and `streams` by method path; `failed` is told that no more calls are accepted: a failure."""
        self._running = asyncio.get_running_loop()
        super().__init__(self._running, None, (), (), options, None)
        self._by_method = handlers
        self._streams = streams or {}
        self._failed = failed
        self._under_way: set[asyncio.Task[None]] = set()
        self.add_registered_method_handlers(dict.fromkeys((*handlers, *self._streams)))

    def listen(self, address: str) -> int:
        """The port, which is another than that of `address` where that is 0."""
        port = self.add_insecure_port(address.encode())
        if not port:
            raise OSError(f"gRPC cannot listen at {address}")
        return port

    def _make_request_call_future(self, method: bytes | None) -> asyncio.Future[Any]:
        """Called once for each method, by the loop that would accept a call when this is done: with the server."""
        name = method.decode() if method else UNKNOWN
        return asyncio.gather(*(self._accept(name) for _ in range(ACCEPTED_AT_ONCE)))

    async def _accept(self, method: str) -> None:
        registered = method in self._by_method or method in self._streams
        while True:
            call = await (self._request_registered_call(method.encode()) if registered else self._request_call())
            coroutine = unless_gone(self._run(method, call))
            task = self._running.create_task(cygrpc._schedule_rpc_coro(coroutine, call, self._running, method))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)

    def _run(self, method: str, call: object) -> Coroutine[Any, Any, None]:
        if method in self._by_method:
            return self._answered(call, self._by_method[method], time.monotonic())
        if method in self._streams:
            return self._streamed(call, self._streams[method])
        return self._refused(call)

    async def _answered(self, call: object, handler: Handler, arrived_s: float) -> None:
        run: Any = grpc.stream_unary_rpc_method_handler(partial(handler, arrived_s=arrived_s))
        await cygrpc._handle_stream_unary_rpc(run, call, self._running)

    async def _streamed(self, call: object, stream: Stream) -> None:
        run: Any = grpc.stream_stream_rpc_method_handler(stream)
        await cygrpc._handle_stream_stream_rpc(run, call, self._running)

    async def _refused(self, call: object) -> None:
        context = cygrpc._ServicerContext(call, None, None, self._running)
        await context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not found!")

    def _serving_task_crash_handler(self, task: asyncio.Task[None]) -> None:
        super()._serving_task_crash_handler(task)
        if not task.cancelled() and (failure := task.exception()) is not None:
            self._failed(failure)


async def unless_gone(answering: Coroutine[Any, Any, None]) -> None:
    """A call whose connection was closed just before something was sent is cancelled, rather than a traceback."""
    try:
        await answering
    except grpc.aio.InternalError:
        raise asyncio.CancelledError from None
