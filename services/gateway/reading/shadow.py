"""A share of the answered calls is repeated on another version's models, whose answers are counted and never told.

The chain offers every call that it answered. What is taken waits in a bounded queue, which drops, and is repeated by
one task, one call at a time, within a deadline of its own. No failure leaves this module.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from services.core.errors import ServiceError
from services.gateway.deadlines import Deadline
from services.gateway.models.remote import Model
from services.gateway.models.transport import CallContext
from services.gateway.reading.chain import Reading, read_digits

log = logging.getLogger(__name__)

QUEUE_IMAGES = 512  # that may wait: 1.6 MB
DEADLINE_S = 2.0  # of one call
AFTER_S = 0.02  # the answers of the call's users are built and written first
LOGGED_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two versions said of the same pictures; row i of every array belongs to picture i."""

    answered: np.ndarray  # (n,) digits that users were told
    shadowed: np.ndarray  # (n,) digits of the shadow
    confidence_gained: np.ndarray  # (n,) the shadow's confidence less that of the answer
    latency_ratio: float  # time in the shadow's models / time in the models that answered
    denoiser_version: int | None
    classifier_version: int


class ShadowObserver(Protocol):
    """Counts comparisons; the metrics implement it."""

    def compared(self, comparison: Comparison) -> None: ...

    def lost(self, outcome: str, images: int) -> None: ...


@dataclass(frozen=True, slots=True)
class _Call:
    images: np.ndarray
    applied: np.ndarray
    digits: np.ndarray
    confidences: np.ndarray
    took_ms: float
    due_s: float


class Shadow:
    """Lives on the gateway's event loop; `offer` costs a request no more than a copy of what is taken."""

    def __init__(
        self,
        *,
        denoiser: Model,
        classifier: Model,
        share: float,
        label: str = "",
        observer: ShadowObserver,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`share` is that of calls, 0 to 1; what `label` itself answered is not repeated. The wires are its own."""
        self._denoiser = denoiser
        self._classifier = classifier
        self._share = share
        self._label = label
        self._observer = observer
        self._draw = draw
        self._waiting: deque[_Call] = deque()
        self._waiting_images = 0
        self._task: asyncio.Task[None] | None = None
        self._logged_s = float("-inf")

    def offer(self, images: np.ndarray, applied: np.ndarray, reading: Reading) -> None:
        """Repeat this call later, where it is drawn and there is room."""
        if self._draw() >= self._share or reading.degraded or (reading.label and reading.label == self._label):
            return
        if self._waiting_images + len(images) > QUEUE_IMAGES:
            self._observer.lost("dropped", len(images))
            return
        images = images.copy() if images.base is not None else images  # a view would keep its whole request
        took_ms, due_s = _in_models_ms(reading), time.monotonic() + AFTER_S
        self._waiting.append(_Call(images, applied.copy(), reading.digits, reading.confidences, took_ms, due_s))
        self._waiting_images += len(images)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._repeat_all())

    async def close(self) -> None:
        """Give up what waits and what is under way, and let go of the model servers."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await asyncio.gather(self._denoiser.close(), self._classifier.close())

    async def _repeat_all(self) -> None:
        """Until nothing waits."""
        while self._waiting:
            await asyncio.sleep(max(0.0, self._waiting[0].due_s - time.monotonic()))
            call = self._waiting.popleft()
            self._waiting_images -= len(call.images)
            try:
                self._observer.compared(await self._repeat(call))
            except ServiceError as error:
                self._observer.lost("failed", len(call.images))
                self._log(error)

    async def _repeat(self, call: _Call) -> Comparison:
        deadline = Deadline.after(DEADLINE_S)
        reading = await deadline.wait_for(
            read_digits(
                call.images,
                call.applied,
                denoiser=self._denoiser,
                classifier=self._classifier,
                call=CallContext(deadline),
            )
        )
        return Comparison(
            answered=call.digits,
            shadowed=reading.digits,
            confidence_gained=reading.confidences - call.confidences,
            latency_ratio=_in_models_ms(reading) / max(call.took_ms, 1e-3),
            denoiser_version=reading.denoiser_version,
            classifier_version=reading.classifier_version,
        )

    def _log(self, error: ServiceError) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_s >= LOGGED_EVERY_S:
            self._logged_s = now_s
            log.warning("the shadow does not answer", extra={"reason": str(error)})


def _in_models_ms(reading: Reading) -> float:
    return reading.timings_ms["denoise"] + reading.timings_ms["classify"]
