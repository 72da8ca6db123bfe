"""What Prometheus sees at /metrics. With several workers the numbers are kept in files and added up when asked for."""

import os
from collections import Counter as Tally
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from services.core.noise_level import estimate
from services.gateway.histograms import Add, BatchHistogram, adding
from services.gateway.reading.chain import Reading
from services.gateway.reading.numbers import Cleaned, LineReading, Scores
from services.gateway.shadow_metrics import ShadowMetrics

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"  # prometheus-client reads it at import: set before workers start

_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
_DIGITS = 10
_OBSERVED = 64  # pictures of one call whose noise is estimated, at most
_NOISE_EVERY = 4  # calls, one of which has the noise of its pictures estimated: some 10 us of the event loop for each
_ACCEPTED = ((True, "yes"), (False, "no"))
_CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)  # edges that the model cards' reference histograms have too
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999, 1.0)
_LEVELS = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)
_BATCH_IMAGES = 128


# By whether a picture was accepted: certainty and confidence; and is_digit of all
_Quality = tuple[dict[bool, tuple[BatchHistogram, BatchHistogram]], BatchHistogram]


@dataclass(frozen=True, slots=True)
class Counted:
    """Calls of one model by name, of all workers."""

    calls: int
    images: int
    total_s: float
    failures: int
    failed_s: float


class Metrics:
    """Every number the gateway counts. One object for each application, so tests do not share counts."""

    def __init__(self, *, worker_restarts: int = 0) -> None:
        self.registry = CollectorRegistry()
        named: dict[str, Any] = {"registry": self.registry}
        self._requests = Counter("cleardigits_requests", "Requests answered.", ["route", "status"], **named)
        self._request_seconds = BatchHistogram(
            "cleardigits_request_seconds", "From first byte to answer.", ["route", "size"], buckets=_SECONDS, **named
        )
        stages = BatchHistogram(
            "cleardigits_stage_seconds",
            "Time in a stage: decode for each request, queue for each request, denoise and classify for each call.",
            ["stage"],
            buckets=_SECONDS,
            **named,
        )
        self._decode, self._queue = stages.labels("decode"), stages.labels("queue")
        self._denoise, self._classify = stages.labels("denoise"), stages.labels("classify")
        self._segment = stages.labels("segment")
        self._batch = BatchHistogram("cleardigits_batch_images", "Images in a call.", buckets=_IMAGES, **named)
        self._add_waiting = adding(
            Gauge("cleardigits_queue_images", "Images that wait.", multiprocess_mode="livesum", **named)
        )
        self._add_in_flight = adding(
            Gauge("cleardigits_in_flight_requests", "Requests under way.", multiprocess_mode="livesum", **named)
        )
        self.rejected = Counter("cleardigits_rejected", "Requests refused by choice.", ["reason"], **named)
        self._confidence = BatchHistogram(
            "cleardigits_confidence",
            "Probability of the digit of each picture read; its mean estimates the accuracy.",
            ["classifier_version", "accepted"],
            buckets=_CONFIDENCES,
            **named,
        )
        self._certainty = BatchHistogram(
            "cleardigits_certainty",
            "Confidence times is_digit of each picture read.",
            ["classifier_version", "accepted"],
            buckets=_SHARES,
            **named,
        )
        self._is_digit = BatchHistogram(
            "cleardigits_is_digit", "Probability of one digit.", ["classifier_version"], buckets=_SHARES, **named
        )
        self._noise_level = BatchHistogram(
            "cleardigits_noise_level",
            "Estimated noise of the pictures of one call in four.",
            buckets=_LEVELS,
            **named,
        )
        self.captures = Counter("cleardigits_captures", "Pictures kept for labelling, or not.", ["outcome"], **named)
        digits = Counter("cleardigits_digits", "Digits read.", ["digit"], **named)
        self._add_digits = [adding(digits.labels(str(digit))) for digit in range(_DIGITS)]
        self._model_info = Gauge(
            "cleardigits_model_info",
            "1 for the version that answered last; for each label where requests are split.",
            ["model", "version"],
            multiprocess_mode="mostrecent",
            **named,
        )
        self._model_available = Gauge(
            "cleardigits_model_available",
            "1 when the model has an AVAILABLE version.",
            ["model"],
            multiprocess_mode="mostrecent",
            **named,
        )
        numbers = Counter("cleardigits_numbers", "Lines read.", ["accepted"], **named)
        self._numbers = {accepted: numbers.labels(str(accepted).lower()) for accepted in (True, False)}
        self._pieces = Histogram(
            "cleardigits_line_pieces", "Pieces a line was cut into for the classifier.", buckets=_IMAGES, **named
        )
        self.shadow = ShadowMetrics(self.registry)
        self._inferences = Summary(
            "cleardigits_inference_seconds", "Calls of a model by name, /v2 and gRPC.", ["model", "outcome"], **named
        )
        self._inference_images = Counter(
            "cleardigits_inference_images", "Images of such calls that went well.", ["model"], **named
        )
        self._noise_turn = 0
        self._labelled = Counter(
            "cleardigits_label_requests",
            "Requests for pictures, by the label that answered.",
            ["label", "status"],
            **named,
        )
        self._label_seconds = Histogram(
            "cleardigits_label_seconds", "From first byte to answer, by label.", ["label"], buckets=_SECONDS, **named
        )
        Gauge(
            "cleardigits_worker_restarts",
            "Workers started in the place of one that died, since the gateway started.",
            multiprocess_mode="max",
            **named,
        ).set(worker_restarts)
        self._children: dict[tuple[str, int, str], tuple[Add, BatchHistogram]] = {}  # labels() is slow to look them up
        self._quality: dict[str, _Quality] = {}  # likewise, by version of the classifier
        self._versions: dict[tuple[str, str], int] = {}  # (model, label) -> the version that answered last
        for model in ("denoiser", "classifier"):
            self._model_available.labels(model).set(0)

    def request_began(self) -> None:
        """A request is under way."""
        self._add_in_flight(1)

    def request_ended(self, route: str, status: int, total_s: float, images: int = 0) -> None:
        """A request for so many images was answered."""
        size = _size(images)
        children = self._children.get((route, status, size))
        if children is None:
            children = adding(self._requests.labels(route, str(status))), self._request_seconds.labels(route, size)
            self._children[route, status, size] = children
        children[0](1)
        children[1].observe(total_s)
        self._add_in_flight(-1)

    def decoded(self, spent_s: float) -> None:
        """A body became images."""
        self._decode.observe(spent_s)

    def label_answered(self, label: str, status: int, total_s: float) -> None:
        """A request for pictures went to the models of this label."""
        self._labelled.labels(label, str(status)).inc()
        self._label_seconds.labels(label).observe(total_s)

    def queue_changed(self, by: int) -> None:
        """So many more images wait, or fewer."""
        self._add_waiting(by)

    def batch_started(self, images: int, waited_s: list[float]) -> None:
        """A call of the chain begins with so many images, whose callers waited so long."""
        self._add_waiting(-images)
        self._batch.observe(images)
        self._queue.observe_all(waited_s)

    def batch_read(self, reading: Reading) -> None:
        """A call of the chain ended well."""
        if reading.denoiser_version is not None:
            self._denoise.observe(reading.timings_ms["denoise"] / 1e3)
            self._answered_by("denoiser", reading.denoiser_version, reading.label)
        self._classify.observe(reading.timings_ms["classify"] / 1e3)
        self._answered_by("classifier", reading.classifier_version, reading.label)
        for digit, count in Tally(reading.digits.tolist()).items():
            self._add_digits[digit](count)

    def line_read(self, reading: LineReading, label: str) -> None:
        """A line went through the chain."""
        self._segment.observe(reading.timings_ms["segment"] / 1e3)
        self._pieces.observe(reading.pieces)
        for model, version in (("denoiser", reading.denoiser_version), ("classifier", reading.classifier_version)):
            if version is not None:
                self._answered_by(model, version, label)

    def number_answered(self, accepted: bool) -> None:
        """A number was told, or that there is none."""
        self._numbers[accepted].inc()

    def lines(self, stage: str) -> "LineMetrics":
        """What sees the calls of one batcher of strips or pieces."""
        return LineMetrics(
            self._add_waiting, self._queue, {"denoise": self._denoise, "classify": self._classify}[stage]
        )

    def pictures_read(self, images: np.ndarray, reading: Reading, min_confidence: float) -> None:
        """A call of the chain, as far as it says something of quality: no label is needed for these."""
        version = str(reading.classifier_version)
        children = self._quality.get(version)
        if children is None:
            outcomes = {
                accepted: (self._certainty.labels(version, said), self._confidence.labels(version, said))
                for accepted, said in _ACCEPTED
            }
            children = self._quality[version] = outcomes, self._is_digit.labels(version)
        rows = list(zip(reading.certainties.tolist(), reading.confidences.tolist(), strict=True))
        for accepted, (certainty, confidence) in children[0].items():
            chosen = [row for row in rows if (row[0] >= min_confidence) is accepted]
            certainty.observe_all([row[0] for row in chosen])
            confidence.observe_all([row[1] for row in chosen])
        if reading.is_digit is not None:
            children[1].observe_all(reading.is_digit.tolist())
        if self._noise_turn == 0:
            self._noise_level.observe_all(estimate(_some(images)).tolist())
        self._noise_turn = (self._noise_turn + 1) % _NOISE_EVERY

    def inferred(self, model: str, images: int, took_s: float) -> None:
        """A call of a model by name went well."""
        self._inferences.labels(model, "success").observe(took_s)
        self._inference_images.labels(model).inc(images)

    def inference_failed(self, model: str, took_s: float) -> None:
        """A call of a model by name was refused or failed."""
        self._inferences.labels(model, "fail").observe(took_s)

    def inferences(self, model: str) -> Counted:
        """What `inferred` and `inference_failed` were told, in all workers."""
        found = {
            (sample.name, sample.labels.get("outcome")): sample.value
            for family in self._everyone().collect()
            if family.name.startswith("cleardigits_inference_")
            for sample in family.samples
            if sample.labels.get("model") == model
        }
        seconds = "cleardigits_inference_seconds"
        return Counted(
            calls=int(found.get((f"{seconds}_count", "success"), 0)),
            images=int(found.get(("cleardigits_inference_images_total", None), 0)),
            total_s=found.get((f"{seconds}_sum", "success"), 0.0),
            failures=int(found.get((f"{seconds}_count", "fail"), 0)),
            failed_s=found.get((f"{seconds}_sum", "fail"), 0.0),
        )

    def available(self, model: str, is_available: bool) -> None:
        """Readiness was asked for."""
        self._model_available.labels(model).set(is_available)

    def text(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._everyone())

    def _everyone(self) -> CollectorRegistry:
        """The numbers of all workers."""
        if MULTIPROCESS not in os.environ:
            return self.registry
        _forget_dead_workers(Path(os.environ[MULTIPROCESS]))
        everyone = CollectorRegistry()
        MultiProcessCollector(everyone)  # type: ignore[no-untyped-call]
        return everyone

    def _answered_by(self, model: str, version: int, label: str) -> None:
        known = self._versions.get((model, label))
        if known != version:
            self._versions[model, label] = version
            others = [each for (name, _), each in self._versions.items() if name == model]
            if known is not None and known not in others:
                self._model_info.labels(model, str(known)).set(0)
            self._model_info.labels(model, str(version)).set(1)


def _size(images: int) -> str:
    """The class of an objective of latency: a picture, as many as fit into one call of a model, or more."""
    if images <= 1:
        return "single"
    return "batch" if images <= _BATCH_IMAGES else "bulk"


class LineMetrics:
    """Calls for lines, beside those for digits: how many wait, how long, how long a call takes."""

    def __init__(self, add_waiting: Add, queue: BatchHistogram, stage: BatchHistogram) -> None:
        self._add_waiting, self._queue, self._stage = add_waiting, queue, stage

    def queue_changed(self, by: int) -> None:
        """So many more wait, or fewer."""
        self._add_waiting(by)

    def batch_started(self, images: int, waited_s: list[float]) -> None:
        """A call begins, for callers who waited so long."""
        self._add_waiting(-images)
        self._queue.observe_all(waited_s)

    def batch_read(self, answer: Cleaned | Scores) -> None:
        """A call ended well."""
        self._stage.observe(answer.took_s)


def _some(values: np.ndarray) -> np.ndarray:
    """All of a small batch; of a large one, some spread evenly: the event loop must go on."""
    return values[:: -(-len(values) // _OBSERVED) or 1]


def _forget_dead_workers(folder: Path) -> None:
    """What a worker had under way when it was killed is not under way any more; what it had counted stays counted."""
    for pid in {int(file.stem.rpartition("_")[2]) for file in folder.glob("gauge_live*.db")}:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]
