"""A share of the answered calls is repeated on another version's models, whose answers are counted and never told.

The chain offers every call that it answered, and every line. What is taken waits in a bounded queue, which drops. One
task repeats it when `shadow_pace.py` allows: pictures of several calls in one batch, one batch at a time, within a
deadline of its own. After a failure all that waits is dropped, and nothing is taken for a while. No failure leaves this
module.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

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
from services.gateway.reading.shadow_pace import LOOK_S, Pace

log = logging.getLogger(__name__)

QUEUE_IMAGES = 512  # that may wait: 1.6 MB; a line takes the room of the pictures that are as wide
BATCH_IMAGES = 32  # of several calls: a few milliseconds of a core; a call that is larger goes alone
ALONE_EVERY = 8  # batches, one of which is a single call as it came: only then can its time be compared
DEADLINE_S = 2.0  # of one batch
LOGGED_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two versions said of the same pictures; row i of every array belongs to picture i."""

    answered: np.ndarray  # (n,) digits that users were told
    shadowed: np.ndarray  # (n,) digits of the shadow
    confidence_gained: np.ndarray  # (n,) the shadow's confidence less that of the answer
    latency_ratio: float | None  # time in the shadow's models / in those that answered; None: of several calls
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
class _Pictures:
    """A call with pictures, and what users were told of them."""

    images: np.ndarray
    applied: np.ndarray
    digits: np.ndarray
    confidences: np.ndarray
    in_models_ms: float
    since_s: float

    @property
    def room(self) -> int:
        return len(self.images)


@dataclass(frozen=True, slots=True)
class _Line:
    """A line, and what users were told of it."""

    strip: np.ndarray
    number: str
    denoised: bool
    length: Length | None
    room: int
    since_s: float


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
        pace: Pace | None = None,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`share` is that of calls, 0 to 1; what `label` itself answered is not repeated. It connects for itself."""
        self._denoiser = denoiser
        self._classifier = classifier
        self._share = share
        self._label = label
        self._observer = observer
        self._pace = pace or Pace()
        self._draw = draw
        self._waiting: deque[_Pictures | _Line] = deque()
        self._waiting_images = 0
        self._batches = 0
        self._task: asyncio.Task[None] | None = None
        self._logged_s = float("-inf")

    def offer(self, images: np.ndarray, applied: np.ndarray, reading: Reading) -> None:
        """Repeat this call later, where it is drawn and there is room."""
        if not self._draws(degraded=reading.degraded, label=reading.label):
            return
        if not self._has_room(len(images)):
            self._observer.lost("dropped", len(images))
            return
        images = images.copy() if images.base is not None else images  # a view would keep its whole request
        took_ms = _in_models_ms(reading)
        self._add(_Pictures(images, applied.copy(), reading.digits, reading.confidences, took_ms, self._pace.clock()))

    def offer_line(self, strip: np.ndarray, reading: LineReading, length: Length | None, label: str) -> None:
        """Read this strip (28, width, 1) again later, where it is drawn and there is room: cleaned, cut and all."""
        if not self._draws(degraded=reading.degraded, label=label):
            return
        room = -(-strip.shape[1] // SIDE)
        if not self._has_room(room):
            self._observer.number_lost("dropped")
            return
        strip = strip.copy() if strip.base is not None else strip
        denoised = reading.denoiser_version is not None
        self._add(_Line(strip, reading.number.number, denoised, length, room, self._pace.clock()))

    async def close(self) -> None:
        """Give up what waits and what is under way, and let go of the model servers."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))
        await asyncio.gather(self._denoiser.close(), self._classifier.close())

    def _draws(self, *, degraded: bool, label: str) -> bool:
        """Is an answered call drawn, and comparable?"""
        return self._draw() < self._share and not degraded and not (label and label == self._label)

    def _has_room(self, images: int) -> bool:
        return self._pace.is_open and self._waiting_images + images <= QUEUE_IMAGES

    def _add(self, call: _Pictures | _Line) -> None:
        self._waiting.append(call)
        self._waiting_images += call.room
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._repeat_all())

    async def _repeat_all(self) -> None:
        """Until nothing waits."""
        while self._waiting:
            await asyncio.sleep(LOOK_S)  # the answers of users are written first
            if self._pace.is_time(full=self._waiting_images >= BATCH_IMAGES, since_s=self._waiting[0].since_s):
                await self._repeat(self._next())

    def _next(self) -> "_Line | list[_Pictures]":
        """A line, or pictures of as many calls as share a batch."""
        first = self._take()
        if isinstance(first, _Line):
            return first
        self._batches += 1
        calls, images = [first], first.room
        while self._waiting and self._batches % ALONE_EVERY:
            call = self._waiting[0]
            if isinstance(call, _Line) or images + call.room > BATCH_IMAGES:
                break
            calls.append(call)
            images += call.room
            self._take()
        return calls

    def _take(self) -> _Pictures | _Line:
        call = self._waiting.popleft()
        self._waiting_images -= call.room
        return call

    async def _repeat(self, batch: "_Line | list[_Pictures]") -> None:
        deadline = Deadline.after(DEADLINE_S)
        call = CallContext(deadline)
        work = self._read_line(batch, call) if isinstance(batch, _Line) else self._read_pictures(batch, call)
        try:
            await deadline.wait_for(work)
        except ServiceError as error:
            self._pace.failed()
            self._lose([batch] if isinstance(batch, _Line) else batch, "failed")
            self._lose(self._waiting, "dropped")  # old when the next attempt is due
            self._waiting.clear()
            self._waiting_images = 0
            self._log(error)
        else:
            self._pace.succeeded()

    async def _read_pictures(self, calls: Sequence[_Pictures], call: CallContext) -> None:
        shadowed = await read_digits(
            _joined([each.images for each in calls]),
            _joined([each.applied for each in calls]),
            denoiser=self._denoiser,
            classifier=self._classifier,
            call=call,
        )
        took_ms = calls[0].in_models_ms
        self._observer.compared(
            Comparison(
                answered=_joined([each.digits for each in calls]),
                shadowed=shadowed.digits,
                confidence_gained=shadowed.confidences - _joined([each.confidences for each in calls]),
                latency_ratio=_in_models_ms(shadowed) / max(took_ms, 1e-3) if len(calls) == 1 else None,
                denoiser_version=shadowed.denoiser_version,
                classifier_version=shadowed.classifier_version,
            )
        )

    async def _read_line(self, line: _Line, call: CallContext) -> None:
        async def clean(strips: np.ndarray) -> Cleaned:
            cleaned = await cleaned_by(self._denoiser, widened(strips[0])[np.newaxis], call)
            return Cleaned(cleaned.strips[:, :, : line.strip.shape[1]], cleaned.version)

        async def classify(pieces: np.ndarray) -> Scores:
            return await scored_by(self._classifier, pieces, call)

        shadowed = await read_number(
            line.strip, clean=clean if line.denoised else None, classify=classify, length=line.length
        )
        self._observer.number_compared(
            NumberComparison(
                answered=line.number,
                shadowed=shadowed.number.number,
                denoiser_version=shadowed.denoiser_version,
                classifier_version=shadowed.classifier_version,
            )
        )

    def _lose(self, calls: "Sequence[_Pictures | _Line]", outcome: str) -> None:
        images = sum(call.room for call in calls if isinstance(call, _Pictures))
        if images:
            self._observer.lost(outcome, images)
        for _ in range(sum(isinstance(call, _Line) for call in calls)):
            self._observer.number_lost(outcome)

    def _log(self, error: ServiceError) -> None:
        now_s = time.monotonic()
        if now_s - self._logged_s >= LOGGED_EVERY_S:
            self._logged_s = now_s
            log.warning("the shadow does not answer", extra={"reason": str(error)})


def _joined(parts: list[np.ndarray]) -> np.ndarray:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _in_models_ms(reading: Reading) -> float:
    return reading.timings_ms["denoise"] + reading.timings_ms["classify"]
