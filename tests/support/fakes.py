"""Stand-ins that are passed in, never patched in."""

import asyncio
from collections.abc import Callable
from typing import Any

import numpy as np

from services.core.errors import ModelError, ModelResponseError, ModelTimeoutError
from services.gateway.models.remote import Prediction, VersionStatus
from services.gateway.models.transport import CallContext, Metadata


class FakeModel:
    """A Model made from a function of arrays; it remembers the sizes of its calls."""

    def __init__(
        self,
        function: Callable[[np.ndarray], np.ndarray],
        *,
        name: str = "fake",
        version: int = 1,
        takes_s: float = 0.0,
        failure: ModelError | None = None,
        more: Callable[[np.ndarray], dict[str, np.ndarray]] = lambda images: {},
    ) -> None:
        self.name = name
        self.version = version
        self.takes_s = takes_s
        self.failure = failure
        self.sizes: list[int] = []
        self.metadata: list[Metadata] = []
        self.left_s: list[float] = []  # of each call's deadline
        self.hangs = False
        self.answers_wrongly = False
        self.closed = False
        self._function = function
        self._more = more

    async def predict(self, images: np.ndarray, *, call: CallContext) -> Prediction:
        self.sizes.append(len(images))
        self.metadata.append(call.metadata)
        self.left_s.append(call.deadline.remaining_s())
        if self.takes_s:
            await asyncio.sleep(self.takes_s)
        if self.failure is not None:
            raise self.failure
        return Prediction(self._function(images), self.version, self._more(images))

    async def status(self, *, timeout_s: float) -> list[VersionStatus]:
        if self.hangs:
            await asyncio.sleep(timeout_s)
            raise ModelTimeoutError(f"{self.name} did not answer in {timeout_s:.1f} s")
        if self.failure is not None:
            raise self.failure
        return [VersionStatus(self.version, "AVAILABLE")]

    async def check(self, *, call: CallContext) -> None:
        if self.answers_wrongly:
            raise ModelResponseError(f"{self.name} answered probabilities where denoised was expected")

    async def close(self) -> None:
        self.closed = True


def scores_by_brightness(images: np.ndarray) -> np.ndarray:
    """A classifier anyone can predict: the digit is the mean brightness in tenths."""
    digits = np.clip((images.mean(axis=(1, 2, 3)) * 10).astype(int), 0, 9)
    scores = np.full((len(images), 10), 0.01, np.float32)
    scores[np.arange(len(images)), digits] = 0.91
    return scores


def fake_denoiser(**options: Any) -> FakeModel:
    """Leaves images as they are."""
    return FakeModel(lambda images: images, **{"name": "denoiser", **options})


def fake_classifier(**options: Any) -> FakeModel:
    """Reads brightness."""
    return FakeModel(scores_by_brightness, **{"name": "classifier", **options})
