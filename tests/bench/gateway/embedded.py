"""The same gateway with both models in its own process: `python -m tests.bench.gateway.embedded`, settings as always.

What separates it from the real one is the price of two model servers behind gRPC.
"""

import asyncio
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from granian.constants import Interfaces
from granian.server import Server as Granian

from services.gateway import app as gateway_app
from services.gateway.config import GatewayConfig
from services.gateway.deadlines import Deadline
from services.gateway.models.remote import Prediction, VersionStatus
from services.gateway.models.transport import Metadata
from services.runtime.logs import configure_logging
from tests.bench.gateway.floors import Models
from tests.support.stack import MODELS


class EmbeddedModel:
    """A Model that is called in a thread of this process."""

    def __init__(self, name: str, function: Callable[[np.ndarray], np.ndarray], threads: ThreadPoolExecutor) -> None:
        self.name = name
        self._function = function
        self._threads = threads

    async def predict(self, images: np.ndarray, *, deadline: Deadline, metadata: Metadata = ()) -> Prediction:
        """As Model.predict."""
        loop = asyncio.get_running_loop()
        return Prediction(await loop.run_in_executor(self._threads, self._function, images), 1)

    async def status(self, *, timeout_s: float) -> list[VersionStatus]:
        """Always there."""
        return [VersionStatus(1, "AVAILABLE")]

    async def close(self) -> None:
        """Nothing to let go of."""


def load(_target: str) -> object:
    """The gateway's server, with these models in the place of those of its settings."""
    from services.gateway.server.http import Server

    threads = ThreadPoolExecutor(2)
    models = Models(MODELS)
    gateway_app.remote_denoiser = lambda config: EmbeddedModel("denoiser", models.denoise, threads)
    gateway_app.remote_classifier = lambda config: EmbeddedModel("classifier", models.classify, threads)
    return Server(GatewayConfig.from_env())


def main() -> int:
    """Serve until told to stop."""
    config = GatewayConfig.from_env()
    configure_logging(level=config.log_level, log_format=config.log_format)
    server = Granian("embedded", port=config.port, interface=Interfaces.RSGI, websockets=False, log_enabled=False)
    server.serve(target_loader=load)
    return 0


if __name__ == "__main__":
    sys.exit(main())
