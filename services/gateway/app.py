"""create_app(): wires config, models, chain, routes and problems together."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from flask import Flask

from services.gateway.admission.admission import Edge
from services.gateway.admission.encoding import guard
from services.gateway.admission.problems import register_problems
from services.gateway.api.answers import ModelNames
from services.gateway.api.oip import oip_blueprint
from services.gateway.api.readiness import Readiness, ReadinessCheck
from services.gateway.api.recognize import Recognize, gateway_blueprint
from services.gateway.api.tfserving_rest import tfserving_rest_blueprint
from services.gateway.config import GatewayConfig
from services.gateway.deadlines import Deadline
from services.gateway.metrics import Metrics
from services.gateway.models.remote import Model, RemoteModel
from services.gateway.models.transport import Metadata
from services.gateway.pages.demo import create_page
from services.gateway.pages.docs import docs_blueprint
from services.gateway.reading.batching import Batcher
from services.gateway.reading.chain import Reading, read_digits
from services.gateway.reading.reader import BlockingReader, Reader

if TYPE_CHECKING:
    from services.gateway.admission.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts that the short cut around Flask shares with it; `app.extensions["gateway"]`."""

    edge: Edge
    reader: Reader
    recognize: Recognize


def create_app(
    config: GatewayConfig,
    *,
    denoiser: Model | None = None,
    classifier: Model | None = None,
    loop: asyncio.AbstractEventLoop | None = None,
    draining: Callable[[], bool] = lambda: False,
    tracing: "Tracing | None" = None,
    worker_restarts: int = 0,
) -> Flask:
    """The gateway as a Flask application. Models are those of the settings unless given; they live on `loop`.

    Without a loop one is started in a thread, which makes the application work under any WSGI server.
    """
    denoiser = denoiser or remote_denoiser(config)
    classifier = classifier or remote_classifier(config)
    loop = loop or _loop_in_thread()
    metrics = Metrics(worker_restarts=worker_restarts)
    edge = Edge(config, metrics, tracing)

    async def chain(images: np.ndarray, applied: np.ndarray, deadline: Deadline, metadata: Metadata) -> Reading:
        return await read_digits(
            images,
            applied,
            denoiser=denoiser,
            classifier=classifier,
            deadline=deadline,
            metadata=metadata,
            without_denoiser=config.on_denoiser_failure == "classify",
        )

    batcher = Batcher(
        chain,
        observer=metrics,
        batch_images=config.batch_images,
        in_flight=config.batches_in_flight,
        queue_images=config.queue_images,
        wait_s=config.batch_wait_ms / 1e3,
    )
    reader = Reader(
        denoiser=denoiser,
        classifier=classifier,
        batcher=batcher,
        slice_images=config.batch_images,
        slices=config.batches_in_flight + 1,
    )
    readiness = ReadinessCheck(
        {"denoiser": denoiser, "classifier": classifier},
        cache_s=config.ready_cache_ms / 1e3,
        metrics=metrics,
        draining=draining,
        required=frozenset({"classifier"} if config.on_denoiser_failure == "classify" else {"denoiser", "classifier"}),
    )
    recognize = Recognize(config.limits, ModelNames(config.denoiser_model, config.classifier_model), metrics)
    blocking = BlockingReader(reader, loop)

    app = Flask(__name__, static_folder=None)
    app.extensions["gateway"] = Gateway(edge, reader, recognize)
    guard(app, edge, config.limits)
    register_problems(app, observe=edge.refused)

    def ready() -> Readiness:
        return asyncio.run_coroutine_threadsafe(readiness(), loop).result()

    app.register_blueprint(gateway_blueprint(recognize, blocking, ready, metrics))
    app.register_blueprint(oip_blueprint(blocking, config.limits, ready))
    app.register_blueprint(tfserving_rest_blueprint(blocking, config.limits))
    app.register_blueprint(docs_blueprint())
    app.register_blueprint(create_page())
    return app


def remote_denoiser(config: GatewayConfig) -> RemoteModel:
    """The denoiser of the settings."""
    return RemoteModel(
        config.denoiser_target,
        name=config.denoiser_model,
        label=config.denoiser_label,
        output="denoised",
        output_shape=(28, 28, 1),
        timeout_s=config.predict_timeout_s,
        connect_s=config.connect_timeout_s,
    )


def remote_classifier(config: GatewayConfig) -> RemoteModel:
    """The classifier of the settings."""
    return RemoteModel(
        config.classifier_target,
        name=config.classifier_model,
        label=config.classifier_label,
        output="probabilities",
        output_shape=(10,),
        timeout_s=config.predict_timeout_s,
        connect_s=config.connect_timeout_s,
    )


def _loop_in_thread() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="gateway-loop", daemon=True).start()
    return loop
