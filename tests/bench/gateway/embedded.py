"""The same gateway with both models in its own processes: `python -m tests.bench.gateway.embedded`, settings as always.

What separates it from the real one is the price of two model servers apart.
"""

import asyncio
import multiprocessing
import os
import signal
import socket
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import uvloop

from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from services.gateway.models.remote import Prediction, VersionStatus
from services.gateway.models.transport import CallContext
from services.gateway.server.http import HttpServer
from services.gateway.server.workers import end_with, listen
from services.runtime.logs import configure_logging
from tests.bench.gateway.floors import Models
from tests.support.stack import MODELS


class EmbeddedModel:
    """A Model that is called in a thread of this process."""

    def __init__(self, name: str, function: Callable[[np.ndarray], np.ndarray], threads: ThreadPoolExecutor) -> None:
        self.name = name
        self._function = function
        self._threads = threads

    async def predict(self, images: np.ndarray, *, call: CallContext) -> Prediction:
        """As Model.predict."""
        loop = asyncio.get_running_loop()
        return Prediction(await loop.run_in_executor(self._threads, self._function, images), 1)

    async def status(self, *, timeout_s: float) -> list[VersionStatus]:
        """Always there."""
        return [VersionStatus(1, "AVAILABLE")]

    async def check(self, *, call: CallContext) -> None:
        """It is the one that is expected."""

    async def close(self) -> None:
        """Nothing to let go of."""


async def serve(config: GatewayConfig, sock: socket.socket) -> None:
    """The gateway's server on a bound socket, with these models in the place of its settings', until SIGTERM."""
    stop = asyncio.Event()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # blocked by the parent, which waits for it
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    threads = ThreadPoolExecutor(2)
    models = Models(MODELS)
    gateway = Gateway(
        config,
        denoiser=EmbeddedModel("denoiser", models.denoise, threads),
        classifier=EmbeddedModel("classifier", models.classify, threads),
    )
    server = HttpServer(gateway)
    await server.start(sock)
    await stop.wait()
    await server.stop(1.0)
    await gateway.close()


def work(sock: socket.socket, parent: int) -> None:
    """One worker, as long as its parent lives."""
    end_with(parent)
    config = GatewayConfig.from_env()
    configure_logging(level=config.log_level, log_format=config.log_format)
    uvloop.run(serve(config, sock))


def main() -> int:
    """Serve until told to stop, with as many workers as the settings say."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=work, args=(sock, os.getpid())) for sock in listen(GatewayConfig.from_env())]
    for worker in workers:
        worker.start()
    signal.sigwait({signal.SIGTERM})
    for worker in workers:
        worker.terminate()
        worker.join()
    return 0


if __name__ == "__main__":
    sys.exit(main())
