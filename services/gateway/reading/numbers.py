"""Read a line: clean the strip, cut it apart, classify every piece, take the likeliest number: on one screen."""

import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from services.core.errors import ModelError
from services.core.lines.number import NOTHING, Length, Number, number_of
from services.core.lines.segment import cut


@dataclass(frozen=True, slots=True)
class Cleaned:
    """Strips as the denoiser gave them back, and which version did."""

    strips: np.ndarray  # (n, 28, width, 1)
    version: int
    took_s: float = 0.0  # the call

    def rows(self, start: int, stop: int, queued_ms: float) -> "Cleaned":
        """The part that belongs to one caller of a batch."""
        return Cleaned(self.strips[start:stop], self.version)


@dataclass(frozen=True, slots=True)
class Scores:
    """What the classifier says of pieces, and which version did; row i belongs to piece i."""

    probabilities: np.ndarray  # (n, 10)
    is_digit: np.ndarray  # (n,): 1 for all where the classifier does not say
    version: int
    took_s: float = 0.0  # the call

    def rows(self, start: int, stop: int, queued_ms: float) -> "Scores":
        """The part that belongs to one caller of a batch."""
        return Scores(self.probabilities[start:stop], self.is_digit[start:stop], self.version)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineReading:
    """What the chain found on one strip."""

    number: Number
    cleaned: np.ndarray  # (28, width, 1): the strip that was cut apart
    pieces: int = 0  # how many went through the classifier
    denoiser_version: int | None = None  # None: the strip was not denoised
    classifier_version: int | None = None  # None: there was nothing to classify
    degraded: bool = False  # the denoiser was down: the noisy strip was read
    timings_ms: dict[str, float] = field(default_factory=dict)


async def read_number(
    strip: np.ndarray,
    *,
    clean: Callable[[np.ndarray], Awaitable[Cleaned]] | None,
    classify: Callable[[np.ndarray], Awaitable[Scores]],
    length: Length | None = None,
    without_denoiser: bool = False,
) -> LineReading:
    """The number on one strip (28, width, 1). `without_denoiser` allows to go on when the denoiser is down."""
    started = time.perf_counter()
    cleaned, denoiser_version, degraded = strip, None, False
    if clean is not None:
        try:
            answer = await clean(strip[np.newaxis])
            cleaned, denoiser_version = answer.strips[0], answer.version
        except ModelError:
            if not without_denoiser:
                raise
            degraded = True
    denoised = time.perf_counter()
    pieces = cut(cleaned)
    segmented = time.perf_counter()
    scores = await classify(pieces.images) if len(pieces) else None
    classified = time.perf_counter()
    number = NOTHING
    if scores is not None:
        number = number_of(pieces, scores.probabilities, scores.is_digit, length=length)
    chosen = time.perf_counter()
    return LineReading(
        number=number,
        cleaned=cleaned,
        pieces=len(pieces),
        denoiser_version=denoiser_version,
        classifier_version=None if scores is None else scores.version,
        degraded=degraded,
        timings_ms={
            "denoise": 1e3 * (denoised - started),
            "segment": 1e3 * (segmented - denoised + chosen - classified),
            "classify": 1e3 * (classified - segmented),
        },
    )


def versions_of(readings: Iterable[LineReading | None]) -> dict[str, int | None]:
    """The newest version of each model that read one of them, by role; None where none did."""
    read = [reading for reading in readings if reading is not None]
    return {
        "denoiser": _newest(reading.denoiser_version for reading in read),
        "classifier": _newest(reading.classifier_version for reading in read),
    }


def _newest(versions: Iterable[int | None]) -> int | None:
    return max((version for version in versions if version is not None), default=None)
