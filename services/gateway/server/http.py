"""The gateway's HTTP server: connections and their limits, and the way from a request to its operation."""

import asyncio
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from email.utils import formatdate
from itertools import chain

from services.core.errors import DeadlineError, OverloadedError
from services.gateway.admission.context import Answer
from services.gateway.admission.problems import problem_of, problem_of_status
from services.gateway.app import create_app
from services.gateway.gateway import Gateway
from services.gateway.server.connection import Connection, State
from services.gateway.server.exchange import Exchange
from services.gateway.server.held import SMALL_BODY_BYTES, HeldBodies
from services.gateway.server.routes import Routes

STALLED_S = 10.0  # without a byte of a body, or without a byte of an answer that was read
LINGER_S = 2.0
_SWEEP_S = 0.5
_BACKLOG = 2048
_UNSENT_BYTES = 64 * 1024  # in the kernel, of one connection: its buffer would grow to megabytes that are never read


class HttpServer:
    """The connections of one worker process. `start` on the loop where the gateway lives."""

    def __init__(self, gateway: Gateway, held: HeldBodies | None = None) -> None:
        """`held` is shared with all else that reads bodies in this process."""
        config = gateway.config
        self._held = held or HeldBodies(gateway.limits.max_body_bytes)
        self.limits = gateway.limits
        self.stopping = False
        self.now = time.monotonic
        self.time_limits = {
            State.FRESH: 2 * config.header_timeout_s,
            State.HEAD: config.header_timeout_s,
            State.BODY: STALLED_S,
            State.FLUSH: STALLED_S,
            State.IDLE: config.idle_timeout_s,
            State.LINGER: LINGER_S,
        }
        self._gateway = gateway
        self._most = config.max_connections
        # Behind proxies all connections come from a few addresses.
        self._most_of_address = self._most if config.trusted_proxies else config.max_connections_per_address
        self.connections: set[Connection] = set()
        self._of_address: dict[str, int] = {}
        # Closed when there are too many, those that never sent a request first, in each the oldest first.
        self._fresh: dict[Connection, None] = {}
        self._idle: dict[Connection, None] = {}
        self._threads = ThreadPoolExecutor(4, "pages")
        self._date = (0, b"")

    async def start(self, sock: socket.socket) -> None:
        """Accept connections of a bound socket."""
        self.loop = asyncio.get_running_loop()
        host, port = sock.getsockname()[:2]
        app = create_app(self._gateway, self.loop)
        self._routes = Routes(self._gateway, app, self._threads, server=(host, port))
        if sys.platform == "linux":
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)  # connections inherit it
        self._server = await self.loop.create_server(lambda: Connection(self), sock=sock, backlog=_BACKLOG)
        self._sweeping = self.loop.call_later(_SWEEP_S, self._sweep)

    async def stop(self, grace_s: float) -> None:
        """Accept no more, let requests under way finish, cancel what is left when the time is up."""
        self.stopping = True
        self._server.close()
        for connection in list(self.connections):
            connection.stop()
        ends = time.monotonic() + grace_s
        while self.connections and time.monotonic() < ends:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.cancel()
        for _ in range(20):  # for the answers that say so
            if not self.connections:
                break
            await asyncio.sleep(0.01)
        self._sweeping.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def answer(self, exchange: Exchange) -> tuple[Answer, str]:
        """The answer to a request, and the request's id."""
        request = self._gateway.admission.enter(
            exchange.method,
            exchange.path,
            exchange.query,
            exchange.headers,
            exchange.connection.address,
            exchange.started_s,
        )
        exchange.request = request
        operation, request.arguments = self._routes.find(exchange.method, exchange.path)
        return await self._gateway.respond(request, operation, exchange.receive), request.id

    def malformed(self, connection: Connection, status: int, detail: str) -> tuple[Answer, str]:
        """The answer to what is no request; it is counted and logged as one."""
        admission = self._gateway.admission
        request = admission.enter("-", "-", "", {}, connection.address, connection.since_s)
        title = {400: "Bad Request", 408: "Request Timeout", 414: "URI Too Long"}.get(
            status, "Request Header Fields Too Large"
        )
        answer = problem_of_status(status, title, detail, path="", request_id=request.id)
        admission.leave(request, status)
        return answer, request.id

    def opened(self, connection: Connection) -> None:
        """Make room for a new connection, or refuse it."""
        address = connection.address
        of_address = self._of_address.get(address, 0)
        self.connections.add(connection)
        self._of_address[address] = of_address + 1
        if of_address >= self._most_of_address:
            self._make_room(connection, address)
        elif len(self.connections) > self._most:
            self._make_room(connection, None)

    def lost(self, connection: Connection) -> None:
        """The connection is closed."""
        if connection in self.connections:
            self.connections.discard(connection)
            self._fresh.pop(connection, None)
            self._idle.pop(connection, None)
            left = self._of_address[connection.address] - 1
            if left:
                self._of_address[connection.address] = left
            else:
                del self._of_address[connection.address]

    def entered(self, connection: Connection, state: State) -> None:
        """Keep those without a request in the order in which they began to wait."""
        if state is State.IDLE:
            self._idle[connection] = None
        elif state is State.FRESH:
            self._fresh[connection] = None
        elif state is not State.HEAD:
            self._idle.pop(connection, None)
            self._fresh.pop(connection, None)

    def hold(self, exchange: Exchange) -> OverloadedError | None:
        """Count memory for a body that grew; an error where large bodies hold too much already."""
        if exchange.size <= SMALL_BODY_BYTES:
            return None
        more = exchange.size - exchange.held
        overload = self._held.take(more)
        if overload is None:
            exchange.held += more
        return overload

    def release(self, exchange: Exchange) -> None:
        """The request is answered, or will not be."""
        self._held.give_back(exchange.held)
        exchange.held = 0

    @staticmethod
    def stalled_body() -> DeadlineError:
        """What a client is told that stopped sending."""
        return DeadlineError("the body did not arrive in time")

    def date_line(self) -> bytes:
        """The Date header, made once a second."""
        second = int(time.time())
        if second != self._date[0]:
            self._date = second, f"date: {formatdate(second, usegmt=True)}\r\n".encode("ascii")
        return self._date[1]

    def _make_room(self, connection: Connection, address: str | None) -> None:
        """Close the one that has waited longest without a request, of `address` if given; else refuse the new one."""
        self._gateway.metrics.rejected.labels("connections").inc()
        for waiting in chain(self._fresh, self._idle):
            if waiting is not connection and (address is None or waiting.address == address):
                waiting.close()
                return
        error = OverloadedError("too many connections", retry_after_s=1.0)
        answer = problem_of(error, path="", request_id="-")
        connection.answer_and_close(
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: %b\r\ncontent-length: %d\r\nretry-after: 1\r\n"
            b"connection: close\r\n\r\n%b" % (answer.content_type.encode(), len(answer.body), answer.body)
        )

    def _sweep(self) -> None:
        now_s = time.monotonic()
        for connection in list(self.connections):
            connection.overdue(now_s)
        self._sweeping = self.loop.call_later(_SWEEP_S, self._sweep)
