"""A share of the answered calls is repeated on another version's models, whose answers are counted and never told.

The chain offers every call that it answered, and every line. What is taken waits in a bounded queue, which drops, and
is repeated by one task, one call at a time, within a deadline of its own. No failure leaves this module.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from services.core.errors import ServiceError
from services.core.lines.number import Length
from services.core.preprocessing import SIDE
from services.gateway.deadlines import Deadline
from services.gateway.models.remote import Model
from services.gateway.models.transport import CallContext
from services.gateway.reading.chain import Reading, read_digits
from services.gateway.reading.line_reader import cleaned_by, scored_by, widened
from services.gateway.reading.numbers import Cleaned, LineReading, Scores, read_number

log = logging.getLogger(__name__)

QUEUE_IMAGES = 512  # that may wait: 1.6 MB; a line takes the room of the pictures that are as wide
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


@dataclass(frozen=True, slots=True)
class NumberComparison:
    """What two versions said of the same line."""

    answered: str  # the number that users were told
    shadowed: str
    denoiser_version: int | None
    classifier_version: int | None  # None: the shadow found nothing to classify


class ShadowObserver(Protocol):
    """Counts comparisons; the metrics implement it."""

    def compared(self, comparison: Comparison) -> None: ...

    def lost(self, outcome: str, images: int) -> None: ...

    def number_compared(self, comparison: NumberComparison) -> None: ...

    def number_lost(self, outcome: str) -> None: ...


@dataclass(frozen=True, slots=True)
class _Call:
    images: int  # the room it takes
    due_s: float
    repeat: Callable[[CallContext], Coroutine[Any, Any, None]]
    lost: Callable[[str], None]


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
        """`share` is that of calls, 0 to 1; what `label` itself answered is not repeated. It connects for itself."""
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
        count = len(images)

        def lost(outcome: str) -> None:
            self._observer.lost(outcome, count)

        if not self._takes(count, lost, degraded=reading.degraded, label=reading.label):
            return
        images = images.copy() if images.base is not None else images  # a view would keep its whole request
        applied = applied.copy()
        digits, confidences, took_ms = reading.digits, reading.confidences, _in_models_ms(reading)  # all that is kept

        async def repeat(call: CallContext) -> None:
            shadowed = await read_digits(
                images, applied, denoiser=self._denoiser, classifier=self._classifier, call=call
            )
            self._observer.compared(
                Comparison(
                    answered=digits,
                    shadowed=shadowed.digits,
                    confidence_gained=shadowed.confidences - confidences,
                    latency_ratio=_in_models_ms(shadowed) / max(took_ms, 1e-3),
                    denoiser_version=shadowed.denoiser_version,
                    classifier_version=shadowed.classifier_version,
                )
            )

        self._add(count, repeat, lost)

    def offer_line(self, strip: np.ndarray, reading: LineReading, length: Length | None, label: str) -> None:
        """Read this strip (28, width, 1) again later, where it is drawn and there is room: cleaned, cut and all."""
        room = -(-strip.shape[1] // SIDE)
        lost = self._observer.number_lost
        if not self._takes(room, lost, degraded=reading.degraded, label=label):
            return
        strip = strip.copy() if strip.base is not None else strip
        number, denoised = reading.number.number, reading.denoiser_version is not None

        async def repeat(call: CallContext) -> None:
            async def clean(strips: np.ndarray) -> Cleaned:
                cleaned = await cleaned_by(self._denoiser, widened(strips[0])[np.newaxis], call)
                return Cleaned(cleaned.strips[:, :, : strip.shape[1]], cleaned.version)

            async def classify(pieces: np.ndarray) -> Scores:
                return await scored_by(self._classifier, pieces, call)

            shadowed = await read_number(strip, clean=clean if denoised else None, classify=classify, length=length)
            self._observer.number_compared(
                NumberComparison(
                    answered=number,
                    shadowed=shadowed.number.number,
                    denoiser_version=shadowed.denoiser_version,
                    classifier_version=shadowed.classifier_version,
                )
            )

        self._add(room, repeat, lost)

    async def close(self) -> None:
        """Give up what waits and what is under way, and let go of the model servers."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await asyncio.gather(self._denoiser.close(), self._classifier.close())

    def _takes(self, images: int, lost: Callable[[str], None], *, degraded: bool, label: str) -> bool:
        """Is an answered call drawn, comparable, and is there room for so many images?"""
        if self._draw() >= self._share or degraded or (label and label == self._label):
            return False
        if self._waiting_images + images > QUEUE_IMAGES:
            lost("dropped")
            return False
        return True

    def _add(
        self, images: int, repeat: Callable[[CallContext], Coroutine[Any, Any, None]], lost: Callable[[str], None]
    ) -> None:
        self._waiting.append(_Call(images, time.monotonic() + AFTER_S, repeat, lost))
        self._waiting_images += images
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._repeat_all())

    async def _repeat_all(self) -> None:
        """Until nothing waits."""
        while self._waiting:
            await asyncio.sleep(max(0.0, self._waiting[0].due_s - time.monotonic()))
            call = self._waiting.popleft()
            self._waiting_images -= call.images
            deadline = Deadline.after(DEADLINE_S)
            try:
                await deadline.wait_for(call.repeat(CallContext(deadline)))
            except ServiceError as error:
                call.lost("failed")
                self._log(error)

    def _log(self, error: ServiceError) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_s >= LOGGED_EVERY_S:
            self._logged_s = now_s
            log.warning("the shadow does not answer", extra={"reason": str(error)})


def _in_models_ms(reading: Reading) -> float:
    return reading.timings_ms["denoise"] + reading.timings_ms["classify"]
