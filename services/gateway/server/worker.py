"""One worker process: the gateway and its HTTP server on an event loop, until SIGTERM."""

import asyncio
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import uvloop

from services.gateway.api.intake import TASKS
from services.gateway.config import GatewayConfig, tracing_is_wanted
from services.gateway.decoding.decoders import Decoders
from services.gateway.gateway import Gateway
from services.gateway.metrics import Metrics
from services.gateway.server.held import HeldBodies
from services.gateway.server.http import HttpServer

if TYPE_CHECKING:
    from services.gateway.admission.tracing import Tracing
    from services.gateway.server.workers import Shared


Stop = Callable[[float], Coroutine[Any, Any, None]]  # a server, within so many seconds


def run(config: GatewayConfig, sock: socket.socket, shared: "Shared", grpc_address: tuple[str, int] | None) -> None:
    """Serve connections of a listening socket, and gRPC at an address that is ours.

    uvloop: an eighth less CPU for a request than asyncio's own loop.
    """
    decoders = Decoders(TASKS)
    decoders.fork()  # now, while there is one thread
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_serve(config, sock, shared, grpc_address, decoders))


async def _serve(
    config: GatewayConfig,
    sock: socket.socket,
    shared: "Shared",
    grpc_address: tuple[str, int] | None,
    decoders: Decoders,
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    gateway = Gateway(
        config,
        draining=lambda: bool(shared.draining.value),
        tracing=_tracing(),
        metrics=Metrics(worker_restarts=shared.restarts.value),
        decoders=decoders,
        buckets=shared.buckets,
    )
    held = HeldBodies(gateway.limits.max_body_bytes)
    server = HttpServer(gateway, held)
    await server.start(sock)
    stops: list[Stop] = [server.stop]
    if grpc_address is not None:
        stops.append(await _serve_grpc(gateway, held, grpc_address, stop.set))
    starting = asyncio.create_task(gateway.start())
    await stop.wait()
    starting.cancel()
    await asyncio.gather(*(each(config.shutdown_grace_s) for each in stops))
    await gateway.close()


async def _serve_grpc(gateway: Gateway, held: HeldBodies, address: tuple[str, int], failed: Callable[[], None]) -> Stop:
    """Start it; what stops it. Imported here: a gateway without it need not load grpc's server, nor its threads."""
    from services.gateway.server.grpc_server import GrpcServer

    server = GrpcServer(gateway, held, failed=failed)
    await server.start(*address)
    return server.stop


def _tracing() -> "Tracing | None":
    if not tracing_is_wanted():
        return None
    from services.gateway.admission.tracing import Tracing

    return Tracing()
