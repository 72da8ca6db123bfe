"""One worker process: the gateway and its HTTP server on an event loop, until SIGTERM."""

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import uvloop

from services.gateway.config import GatewayConfig, tracing_is_wanted
from services.gateway.gateway import Gateway
from services.gateway.metrics import Metrics
from services.gateway.server.http import HttpServer

if TYPE_CHECKING:
    from services.gateway.admission.tracing import Tracing
    from services.gateway.server.workers import Shared


def run(config: GatewayConfig, sock: socket.socket, shared: "Shared") -> None:
    """Serve connections of a listening socket. uvloop: an eighth less CPU for a request than asyncio's own loop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, sock, shared))


async def _serve(config: GatewayConfig, sock: socket.socket, shared: "Shared") -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gateway = Gateway(
        config,
        draining=lambda: bool(shared.draining.value),
        tracing=_tracing(),
        metrics=Metrics(worker_restarts=shared.restarts.value),
    )
    server = HttpServer(gateway)
    await server.start(sock)
    starting = asyncio.create_task(gateway.start())
    await stop.wait()
    starting.cancel()
    await server.stop(config.shutdown_grace_s)
    await gateway.close()


def _tracing() -> "Tracing | None":
    if not tracing_is_wanted():
        return None
    from services.gateway.admission.tracing import Tracing

    return Tracing()
