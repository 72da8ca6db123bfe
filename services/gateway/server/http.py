"""The gateway as granian runs it: small requests for digits on the event loop, everything else through Flask.

A Flask view costs more than the models do for one digit, so POST /v1/recognize with a small body takes a short cut: the
same edge, decoder, chain, answers and problems, without Flask and without a thread. Tests hold the two ways equal.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

from services.core.errors import ClientGoneError, DeadlineError, OverloadedError, ServiceError
from services.core.image_headers import read_header
from services.gateway.admission.context import Visit
from services.gateway.admission.encoding import check_length, inflate
from services.gateway.admission.problems import problem_of, unexpected
from services.gateway.api.answers import Answer
from services.gateway.api.recognize import RECOGNIZE
from services.gateway.app import Gateway, create_app
from services.gateway.config import GatewayConfig, tracing_is_wanted
from services.gateway.deadlines import Deadline
from services.gateway.reading.reader import Calls
from services.gateway.server.disconnects import Presence
from services.gateway.server.wsgi import address_of, environ_of, run_wsgi

SHORT_CUT_BYTES = 16 * 1024
QUICK_PIXELS = 64 * 64  # larger pictures, and bodies of other kinds, are decoded in a thread: the loop must not wait
HELD_BODIES = 8  # of the largest size, in memory at the same time


class Server:
    """An RSGI application: granian calls `__rsgi_init__` once in each worker, then `__rsgi__` for each request."""

    def __init__(
        self, config: GatewayConfig, *, draining: Callable[[], bool] = lambda: False, worker_restarts: int = 0
    ) -> None:
        self._config = config
        self._worker_restarts = worker_restarts
        self._limits = config.limits
        self._short_cut_bytes = min(SHORT_CUT_BYTES, config.max_body_bytes)
        self._draining = draining
        self._held_bytes = 0
        # Questions and work apart: a probe never waits behind ten thousand images.
        self._for_work = ThreadPoolExecutor(HELD_BODIES, "flask-work")
        self._for_questions = ThreadPoolExecutor(2, "flask-ask")

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Build the application on the worker's own loop; channels are opened here, after any fork."""
        tracing = None
        if tracing_is_wanted():
            from services.gateway.admission.tracing import Tracing

            tracing = Tracing()
        self._app = create_app(
            self._config, loop=loop, draining=self._draining, tracing=tracing, worker_restarts=self._worker_restarts
        )
        self._gateway: Gateway = self._app.extensions["gateway"]
        self._presence = Presence(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Give up what is still waiting, so that no thread waits for it for ever, and let go of the model servers."""
        loop.run_until_complete(self._close())
        for threads in (self._for_work, self._for_questions):
            threads.shutdown(wait=False, cancel_futures=True)
        if self._gateway.edge.tracing is not None:
            self._gateway.edge.tracing.close()

    async def _close(self) -> None:
        waiting = asyncio.all_tasks() - {asyncio.current_task()}
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        await self._gateway.reader.close()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        """One request."""
        length = scope.headers.get("content-length")
        if scope.path == RECOGNIZE and scope.method == "POST" and length and int(length) <= self._short_cut_bytes:
            await self._recognize(scope, protocol)
        else:
            await self._through_flask(scope, protocol, int(length) if length else None)

    async def _recognize(self, scope: Any, protocol: Any) -> None:
        """The short cut."""
        visit = self._enter(scope)
        visit.route = RECOGNIZE
        entry = self._presence.begin(protocol, asyncio.current_task().cancel)
        answer = None
        try:
            deadline = self._gateway.edge.admit(visit, scope.headers.get)
            answer = await deadline.hold(self._read(visit, deadline, scope, protocol))
        except ServiceError as error:
            answer = self._problem(visit, error)
        except asyncio.CancelledError:
            answer = self._problem(visit, ClientGoneError("the client closed the connection"))
        finally:  # an exception nobody foresaw is answered here, and goes on into granian's log
            self._presence.end(entry)
            self._send(protocol, visit, answer or unexpected(path=RECOGNIZE, request_id=visit.request_id))

    async def _read(self, visit: Visit, deadline: Deadline, scope: Any, protocol: Any) -> Answer:
        header = scope.headers.get
        body = await protocol()
        encoding = header("content-encoding")
        if encoding:
            body = inflate(body, encoding.lower(), self._limits)
        query = dict(parse_qsl(scope.query_string, keep_blank_values=True)) if scope.query_string else {}
        recognize = self._gateway.recognize
        content_type = header("content-type")
        if _is_quick(content_type, body):
            images, options = recognize.decode(visit, body, content_type, query)
        else:
            loop = asyncio.get_running_loop()
            images, options = await loop.run_in_executor(
                self._for_work, recognize.decode, visit, body, content_type, query
            )
        reading = await self._gateway.reader.read(
            images, denoise=options.denoise, deadline=deadline, metadata=visit.metadata
        )
        return recognize.answer(visit, images, options, reading, header("accept"))

    async def _through_flask(self, scope: Any, protocol: Any, length: int | None) -> None:
        """The long way: read the body within its limits, then a thread."""
        arrived_s = time.monotonic()
        calls = Calls()
        entry = self._presence.begin(protocol, calls.give_up)
        held: list[int] = []
        try:
            async with asyncio.timeout(self._config.max_request_timeout_ms / 1e3):
                body = await self._body(protocol, length, held)
            environ = environ_of(scope, body, arrived_s=arrived_s)
            threads = self._for_questions if scope.method in ("GET", "HEAD", "OPTIONS") else self._for_work
            answer = await run_wsgi(self._app, environ, threads, calls)
        except (ServiceError, TimeoutError) as error:
            if not isinstance(error, ServiceError):
                error = DeadlineError("the body did not arrive in time")
            visit = self._enter(scope)
            self._send(protocol, visit, self._problem(visit, error))
        else:
            protocol.response_bytes(answer.status, answer.headers, answer.body)
        finally:
            self._held_bytes -= sum(held)
            self._presence.end(entry)

    async def _body(self, protocol: Any, length: int | None, held: list[int]) -> bytes:
        """The whole body; refused as soon as it is known to be too large, or memory for it is short."""
        if length is not None:
            check_length(length, self._limits)
            self._hold(length, held)
            return await protocol()
        parts: list[bytes] = []
        async for part in protocol:
            self._hold(len(part), held)
            parts.append(part)
            check_length(sum(held), self._limits)
        return b"".join(parts)

    def _hold(self, size: int, held: list[int]) -> None:
        if self._held_bytes + size > HELD_BODIES * self._limits.max_body_bytes:
            raise OverloadedError(f"bodies of {self._held_bytes} bytes are being read already", retry_after_s=1.0)
        held.append(size)
        self._held_bytes += size

    def _enter(self, scope: Any) -> Visit:
        return self._gateway.edge.enter(scope.method, scope.path, scope.headers.get, address_of(scope))

    def _problem(self, visit: Visit, error: ServiceError) -> Answer:
        self._gateway.edge.refused(error)
        return problem_of(error, path=visit.path, request_id=visit.request_id)

    def _send(self, protocol: Any, visit: Visit, answer: Answer) -> None:
        headers = [("content-type", answer.content_type), ("x-request-id", visit.request_id), *answer.headers]
        protocol.response_bytes(answer.status, headers, answer.body)
        self._gateway.edge.leave(visit, answer.status)


def _is_quick(content_type: str | None, body: bytes) -> bool:
    """Whether decoding takes microseconds: a few bytes can promise millions of pixels."""
    if not (content_type and content_type.startswith("image/")):
        return False
    header = read_header(body)
    return header.width * header.height <= QUICK_PIXELS
