"""A single model is called by a bounded number of requests at the same time, and every request gets its answer."""

import asyncio
import time

import numpy as np

from services.gateway.api.offered_models import DIRECT_CALLS, PROBABILITIES, SLICE_IMAGES, SingleModel
from services.gateway.api.readiness import ModelStatus
from services.gateway.deadlines import Deadline
from services.gateway.metrics import Metrics
from services.gateway.models.remote import Prediction, VersionStatus
from services.gateway.models.transport import CallContext
from tests.support.fakes import fake_classifier


class Counting:
    """A model that notes how many calls are under way at the most."""

    def __init__(self) -> None:
        self.model = fake_classifier(takes_s=0.01)
        self.name = self.model.name
        self.now = self.most = 0

    async def predict(self, images: np.ndarray, *, call: CallContext) -> Prediction:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await self.model.predict(images, call=call)
        finally:
            self.now -= 1

    async def status(self, *, timeout_s: float) -> list[VersionStatus]:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


def test_calls_of_a_single_model_are_bounded_and_all_are_answered():
    """Its server refuses what finds no thread: fifty requests at once must not be fifty calls."""
    counting = Counting()
    images = np.full((SLICE_IMAGES + 1, 28, 28, 1), 0.35, np.float32)  # two calls each

    async def together() -> list[np.ndarray]:
        offered = SingleModel(
            counting, ModelStatus("classifier", counting, cache_s=1, metrics=Metrics()), PROBABILITIES
        )
        call = CallContext(Deadline.after(20), ())
        answers = await asyncio.gather(*(offered.infer(images, {}, call=call) for _ in range(50)))
        return [answer.outputs["probabilities"] for answer in answers]

    started = time.monotonic()
    answers = asyncio.run(together())

    assert counting.most == DIRECT_CALLS
    assert counting.now == 0
    assert all((answer.argmax(axis=1) == 3).all() and len(answer) == len(images) for answer in answers)
    assert time.monotonic() - started < 20
