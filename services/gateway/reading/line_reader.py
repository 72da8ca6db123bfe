"""Lines as requests read them: strips of the same width share calls of the denoiser, pieces those of the classifier."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from services.core.errors import ServiceError
from services.core.lines.number import Length
from services.core.lines.strip import MAX_WIDTH_PX, noise_of, padded
from services.core.noise_level import QUIET
from services.gateway.models.remote import Model
from services.gateway.models.transport import CallContext
from services.gateway.reading.batching import Batcher, BatchObserver
from services.gateway.reading.chain import IS_DIGIT
from services.gateway.reading.numbers import Cleaned, LineReading, Scores, read_number

Offer = Callable[[np.ndarray, LineReading, Length | None, str], None]  # strip, what it was read as, length, label

WIDTHS_PX = (28, 56, 84, 112, 140, 168, 224, 280, 336, 448, 672, MAX_WIDTH_PX)  # strips are padded to the next of these
LINES_AT_ONCE = 16  # of one request


class LineObserver(Protocol):
    """Told of every line; gives each batcher an observer of its own. The metrics are one."""

    def line_read(self, reading: LineReading, label: str) -> None: ...

    def lines(self, stage: str) -> BatchObserver[Cleaned | Scores]: ...


class LineReader:
    """Strips -> readings, batched with those of other requests."""

    def __init__(
        self,
        *,
        denoiser: Model,
        classifier: Model,
        observer: LineObserver,
        batch_strips: int,
        batch_pieces: int,
        in_flight: int,
        queue_images: int,
        without_denoiser: bool,
        labels: Sequence[str] = ("",),
        offer: Offer | None = None,
    ) -> None:
        """What goes to different labels never shares a call, nor waits for the other's. `offer`: the shadow's."""
        calls = {label: asyncio.Semaphore(in_flight) for label in labels}  # of the denoiser, over all widths

        async def clean(strips: np.ndarray, applied: np.ndarray, call: CallContext) -> Cleaned:
            started = time.perf_counter()
            async with calls[call.label]:
                cleaned = await cleaned_by(denoiser, strips, call)
            return replace(cleaned, took_s=time.perf_counter() - started)

        async def classify(pieces: np.ndarray, applied: np.ndarray, call: CallContext) -> Scores:
            started = time.perf_counter()
            return replace(await scored_by(classifier, pieces, call), took_s=time.perf_counter() - started)

        self._observer = observer
        self._offer = offer
        self._without_denoiser = without_denoiser
        bounds = {"in_flight": in_flight, "queue_images": queue_images}
        self._cleaning: dict[tuple[str, int], Batcher[Cleaned]] = {
            (label, width): Batcher(clean, observer=observer.lines("denoise"), batch_images=batch_strips, **bounds)
            for label in labels
            for width in WIDTHS_PX
        }
        self._classifying: dict[str, Batcher[Scores]] = {
            label: Batcher(classify, observer=observer.lines("classify"), batch_images=batch_pieces, **bounds)
            for label in labels
        }

    async def read(
        self, strips: Sequence[np.ndarray | None], *, denoise: str, length: Length | None, call: CallContext
    ) -> list[LineReading | None]:
        """Each strip (28, width, 1) read; None for None. `denoise` is always, never or auto (by its noise)."""
        gate = asyncio.Semaphore(LINES_AT_ONCE)

        async def read_one(strip: np.ndarray | None) -> LineReading | None:
            if strip is None:
                return None
            async with gate:
                call.deadline.check("before a line's turn")
                return await self._read(strip, denoise, length, call)

        if len(strips) == 1:
            return [await read_one(strips[0])]
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(read_one(strip)) for strip in strips]
        except* ServiceError as failures:
            failure = failures.exceptions[0]
        else:
            return [task.result() for task in tasks]
        raise failure

    async def _read(self, strip: np.ndarray, denoise: str, length: Length | None, call: CallContext) -> LineReading:
        own_width = strip.shape[1]
        first = call.share(0.5) if self._without_denoiser else call

        async def clean(strips: np.ndarray) -> Cleaned:
            wide = widened(strips[0])
            cleaned = await self._cleaning[call.label, wide.shape[1]].submit(wide[np.newaxis], _ONE, call=first)
            return Cleaned(cleaned.strips[:, :, :own_width], cleaned.version)

        async def classify(pieces: np.ndarray) -> Scores:
            call.deadline.check("segmentation")
            return await self._classifying[call.label].submit(pieces, np.zeros(len(pieces), bool), call=call)

        wanted = denoise == "always" or (denoise == "auto" and noise_of(strip[..., 0]) > QUIET)
        reading = await read_number(
            strip,
            clean=clean if wanted else None,
            classify=classify,
            length=length,
            without_denoiser=self._without_denoiser,
        )
        self._observer.line_read(reading, call.label)
        if self._offer is not None:
            self._offer(strip, reading, length, call.label)
        return reading


def widened(strip: np.ndarray) -> np.ndarray:
    """The strip (28, width, 1), padded to the next of WIDTHS_PX: how a denoiser gets it."""
    return padded(strip, next(each for each in WIDTHS_PX if each >= strip.shape[1]))


async def cleaned_by(denoiser: Model, strips: np.ndarray, call: CallContext) -> Cleaned:
    """One call of a denoiser."""
    answer = await denoiser.predict(strips, call=call)
    return Cleaned(answer.array, answer.version)


async def scored_by(classifier: Model, pieces: np.ndarray, call: CallContext) -> Scores:
    """One call of a classifier."""
    answer = await classifier.predict(pieces, call=call)
    return Scores(answer.array, answer.more.get(IS_DIGIT, np.ones(len(pieces), np.float32)), answer.version)


_ONE = np.ones(1, bool)
