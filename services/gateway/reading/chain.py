"""Denoise, then classify: the product on one screen."""

import time
from dataclasses import dataclass, field

import numpy as np

from services.core.errors import ModelError
from services.gateway.models.remote import Model
from services.gateway.models.transport import CallContext

IS_DIGIT = "is_digit"  # the classifier's second output, from version 2 on


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the chain found in a batch; row i of every array belongs to image i."""

    digits: np.ndarray  # (n,) int
    scores: np.ndarray  # (n, 10) float32, each row sums to 1
    confidences: np.ndarray  # (n,) float32: the score of each digit
    is_digit: np.ndarray | None = None  # (n,) float32: does the image show one digit? None: the classifier does not say
    pictures: tuple[np.ndarray, ...]  # (n, 28, 28, 1) float32 in slices: what the classifier saw
    applied: np.ndarray  # (n,) bool: was the image denoised?
    noise_levels: np.ndarray | None = None  # (n,), when the choice was left to an estimate
    denoiser_version: int | None  # None: no image was denoised
    classifier_version: int
    degraded: bool = False  # the denoiser was down: the noisy images were classified
    label: str = ""  # whose models were asked, where there is a choice
    timings_ms: dict[str, float] = field(default_factory=dict)

    @property
    def certainties(self) -> np.ndarray:
        """(n,): how likely each digit is the right answer; a picture that shows none counts against it."""
        return self.confidences if self.is_digit is None else self.confidences * self.is_digit

    @property
    def denoised(self) -> np.ndarray:
        """What the classifier saw, as one array: joined only on demand, since it may be large."""
        return self.pictures[0] if len(self.pictures) == 1 else np.concatenate(self.pictures)

    def rows(self, start: int, stop: int, queued_ms: float) -> "Reading":
        """The part that belongs to one caller of a batch."""
        return Reading(
            digits=self.digits[start:stop],
            scores=self.scores[start:stop],
            confidences=self.confidences[start:stop],
            is_digit=None if self.is_digit is None else self.is_digit[start:stop],
            pictures=(self.denoised[start:stop],),
            applied=self.applied[start:stop],
            denoiser_version=self.denoiser_version if self.applied[start:stop].any() else None,
            classifier_version=self.classifier_version,
            degraded=self.degraded,
            label=self.label,
            timings_ms={"queue": queued_ms, **self.timings_ms},
        )

    @classmethod
    def joined(cls, parts: "list[Reading]") -> "Reading":
        """The slices of one request; times add up, though slices overlap."""
        versions = [part.denoiser_version for part in parts if part.denoiser_version is not None]
        return cls(
            digits=np.concatenate([part.digits for part in parts]),
            scores=np.concatenate([part.scores for part in parts]),
            confidences=np.concatenate([part.confidences for part in parts]),
            is_digit=_all_of([part.is_digit for part in parts]),
            pictures=tuple(picture for part in parts for picture in part.pictures),
            applied=np.concatenate([part.applied for part in parts]),
            denoiser_version=max(versions, default=None),
            classifier_version=max(part.classifier_version for part in parts),
            degraded=any(part.degraded for part in parts),
            label=parts[0].label,
            timings_ms={stage: sum(part.timings_ms[stage] for part in parts) for stage in parts[0].timings_ms},
        )


async def read_digits(
    noisy: np.ndarray,
    applied: np.ndarray,
    *,
    denoiser: Model,
    classifier: Model,
    call: CallContext,
    without_denoiser: bool = False,
) -> Reading:
    """Clean the images that `applied` marks, then classify all; `without_denoiser` allows to go on when it is down."""
    started = time.perf_counter()
    cleaned, denoiser_version, degraded = noisy, None, False
    if applied.any():
        first = call.share(0.5) if without_denoiser else call
        try:
            cleaned, denoiser_version = await _clean(noisy, applied, denoiser, first)
        except ModelError:
            if not without_denoiser:
                raise
            degraded, applied = True, np.zeros_like(applied)
    denoised = time.perf_counter()
    answer = await classifier.predict(cleaned, call=call)
    classified = time.perf_counter()
    return Reading(
        digits=answer.array.argmax(axis=1),
        scores=answer.array,
        confidences=answer.array.max(axis=1),
        is_digit=answer.more.get(IS_DIGIT),
        pictures=(cleaned,),
        applied=applied,
        denoiser_version=denoiser_version,
        classifier_version=answer.version,
        degraded=degraded,
        label=call.label,
        timings_ms={"denoise": 1e3 * (denoised - started), "classify": 1e3 * (classified - denoised)},
    )


def _all_of(parts: "list[np.ndarray | None]") -> np.ndarray | None:
    """None where any part has none: a version that does not say came in between."""
    said = [part for part in parts if part is not None]
    return np.concatenate(said) if len(said) == len(parts) else None


async def _clean(noisy: np.ndarray, applied: np.ndarray, denoiser: Model, call: CallContext) -> tuple[np.ndarray, int]:
    if applied.all():
        answer = await denoiser.predict(noisy, call=call)
        return answer.array, answer.version
    answer = await denoiser.predict(noisy[applied], call=call)
    cleaned = noisy.copy()
    cleaned[applied] = answer.array
    return cleaned, answer.version
