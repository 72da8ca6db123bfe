"""The gateway without a host: config -> models, chain, operations. The HTTP server and Flask both call `respond`."""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from services.core.lines.segment import MAX_PIECES
from services.gateway.admission.admission import Admission
from services.gateway.admission.context import Answer, Request
from services.gateway.admission.rate_limit import Buckets
from services.gateway.api.feedback import Feedback
from services.gateway.api.grpc_health import GrpcHealth
from services.gateway.api.inference import Inference
from services.gateway.api.intake import TASKS, Intake
from services.gateway.api.offered_models import CHAIN, offered_models
from services.gateway.api.oip import OpenInference
from services.gateway.api.oip_grpc import OpenInferenceGrpc
from services.gateway.api.oip_numbers import Numbers, NumbersModel
from services.gateway.api.operations import Operation, Receive, respond
from services.gateway.api.read import Read
from services.gateway.api.readiness import ModelStatus, ReadinessCheck, probe_operations
from services.gateway.api.recognize import Recognize
from services.gateway.api.tfserving_rest import TfServingRest
from services.gateway.captures.capture import Captures, open_in
from services.gateway.config import GatewayConfig
from services.gateway.decoding.decoders import Decoders
from services.gateway.metrics import Metrics
from services.gateway.models.remote import Model, RemoteModel
from services.gateway.models.transport import CallContext
from services.gateway.reading.batching import Batcher
from services.gateway.reading.chain import IS_DIGIT, Reading, read_digits
from services.gateway.reading.line_reader import LineReader
from services.gateway.reading.reader import Reader
from services.gateway.reading.shadow import Shadow
from services.gateway.reading.shadow_pace import Pace

if TYPE_CHECKING:  # never imported unless its environment variables ask for it
    from services.gateway.admission.tracing import Tracing


class Gateway:
    """All parts, wired. Lives on one event loop: `respond` and `close` are called there."""

    def __init__(
        self,
        config: GatewayConfig,
        *,
        denoiser: Model | None = None,
        classifier: Model | None = None,
        draining: Callable[[], bool] = lambda: False,
        tracing: "Tracing | None" = None,
        metrics: Metrics | None = None,
        shadow: Shadow | None = None,
        decoders: Decoders | None = None,
        buckets: Buckets | None = None,
    ) -> None:
        """Models and shadow are those of the settings unless given."""
        denoiser = denoiser or remote_denoiser(config)
        classifier = classifier or remote_classifier(config)
        self.config = config
        self.limits = config.limits
        self.metrics = metrics or Metrics()
        self.admission = Admission(config, self.metrics, tracing, buckets)
        self._in_flight = 0  # requests
        self.shadow = shadow or _shadow(config, self.metrics, busy=lambda: self._in_flight > 0)
        self.reader = _reader(config, denoiser, classifier, self.metrics, self.shadow)
        self.lines = _line_reader(config, denoiser, classifier, self.metrics, self.shadow)
        statuses = {
            role: ModelStatus(
                role, model, cache_s=config.ready_cache_ms / 1e3, metrics=self.metrics, labels=config.labels
            )
            for role, model in (("denoiser", denoiser), ("classifier", classifier))
        }
        self._statuses = tuple(statuses.values())
        required = frozenset({"classifier"} if config.on_denoiser_failure == "classify" else statuses)
        readiness = ReadinessCheck(statuses, draining=draining, required=required)
        self.decoders = decoders or Decoders(TASKS)
        self.captures = _captures(config, self.metrics)
        intake = Intake(self.decoders, self.limits)
        models = offered_models(self.reader, statuses)
        numbers = NumbersModel(self.lines, models[CHAIN], self.metrics, config.min_line_confidence)
        inference = Inference(models, numbers, readiness, self.limits, self.metrics)
        names = {"denoiser": config.denoiser_model, "classifier": config.classifier_model}
        self.operations: tuple[Operation, ...] = (
            *Recognize(
                intake, self.reader, names, config.min_confidence, self.limits.max_answer_bytes, self.captures
            ).operations(),
            *Feedback(self.captures).operations(),
            *Read(intake, self.lines, names, self.metrics, config.min_line_confidence).operations(),
            *Numbers(numbers, inference, intake).operations(),
            *OpenInference(inference, intake).operations(),
            *TfServingRest(models[CHAIN], intake).operations(),
            *probe_operations(readiness, self.metrics),
        )
        # No host of HTTP has them.
        self.grpc_operations: tuple[Operation, ...] = (
            *OpenInferenceGrpc(inference, numbers, intake).operations(),
            *GrpcHealth(inference).operations(),
        )

    async def start(self) -> None:
        """Start what the first request would have to wait for."""
        await self.decoders.start()

    async def respond(self, request: Request, operation: Operation, receive: Receive) -> Answer:
        """The answer to a request, also after any failure."""
        self._in_flight += 1
        try:
            return await respond(request, operation, receive, admission=self.admission, limits=self.limits)
        finally:
            self._in_flight -= 1

    async def close(self) -> None:
        """Let go of the model servers and decoders; write and send what is left of logs and traces."""
        for status in self._statuses:
            status.close()
        if self.shadow is not None:
            await self.shadow.close()
        await asyncio.gather(self.reader.close(), self.decoders.close())
        if self.captures is not None:
            await self.captures.close()
        self.admission.close()


def remote_denoiser(config: GatewayConfig, *, target: str = "", label: str | None = None) -> RemoteModel:
    """The denoiser of the settings, or another version of it."""
    return RemoteModel(
        target or config.denoiser_target,
        name=config.denoiser_model,
        label=config.denoiser_label if label is None else label,
        output="denoised",
        output_shape=None,
        timeout_s=config.predict_timeout_s,
        connect_s=config.connect_timeout_s,
    )


def remote_classifier(config: GatewayConfig, *, target: str = "", label: str | None = None) -> RemoteModel:
    """The classifier of the settings, or another version of it."""
    return RemoteModel(
        target or config.classifier_target,
        name=config.classifier_model,
        label=config.classifier_label if label is None else label,
        output="probabilities",
        output_shape=(10,),
        more={IS_DIGIT: ()},
        timeout_s=config.predict_timeout_s,
        connect_s=config.connect_timeout_s,
    )


def _captures(config: GatewayConfig, metrics: Metrics) -> Captures | None:
    if not config.capture_dir:
        return None
    opened = partial(
        open_in,
        Path(config.capture_dir),
        max_bytes=config.capture_max_mb * 1_000_000,
        max_age_s=config.capture_max_days * 86400,
    )
    return Captures(opened, share=config.capture_share, min_confidence=config.min_confidence, metrics=metrics)


def _shadow(config: GatewayConfig, metrics: Metrics, busy: Callable[[], bool]) -> Shadow | None:
    if not config.shadow_share:
        return None
    return Shadow(
        denoiser=remote_denoiser(config, target=config.shadow_denoiser_target, label=config.shadow_label),
        classifier=remote_classifier(config, target=config.shadow_classifier_target, label=config.shadow_label),
        share=config.shadow_share,
        label="" if config.shadow_denoiser_target or config.shadow_classifier_target else config.shadow_label,
        observer=metrics.shadow,
        pace=Pace(busy=busy),
    )


def _reader(
    config: GatewayConfig, denoiser: Model, classifier: Model, metrics: Metrics, shadow: Shadow | None
) -> Reader:
    async def chain(images: np.ndarray, applied: np.ndarray, call: CallContext) -> Reading:
        reading = await read_digits(
            images,
            applied,
            denoiser=denoiser,
            classifier=classifier,
            call=call,
            without_denoiser=config.on_denoiser_failure == "classify",
        )
        metrics.pictures_read(images, reading, config.min_confidence)
        if shadow is not None:
            shadow.offer(images, applied, reading)
        return reading

    batchers = {
        label: Batcher(
            chain,
            observer=metrics,
            batch_images=config.batch_images,
            in_flight=config.batches_in_flight,
            partial_in_flight=min(config.partial_in_flight, config.batches_in_flight),
            queue_images=config.queue_images,
            wait_s=config.batch_wait_ms / 1e3,
        )
        for label in config.labels
    }
    return Reader(
        denoiser=denoiser,
        classifier=classifier,
        batchers=batchers,
        slice_images=config.batch_images,
        slices=config.batches_in_flight + 1,
    )


def _line_reader(
    config: GatewayConfig, denoiser: Model, classifier: Model, metrics: Metrics, shadow: Shadow | None
) -> LineReader:
    return LineReader(
        denoiser=denoiser,
        classifier=classifier,
        observer=metrics,
        batch_strips=max(config.batch_images // 4, 1),
        batch_pieces=max(config.batch_images, MAX_PIECES),
        in_flight=config.batches_in_flight,
        queue_images=config.queue_images,
        without_denoiser=config.on_denoiser_failure == "classify",
        labels=config.labels,
        offer=None if shadow is None else shadow.offer_line,
    )
