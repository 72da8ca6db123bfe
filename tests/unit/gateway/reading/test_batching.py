"""Concurrent requests become few calls, and every caller gets its own rows."""

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from services.core.errors import DeadlineError, ModelUnavailableError, OverloadedError
from services.gateway.deadlines import Deadline
from services.gateway.models.transport import CallContext
from services.gateway.reading.batching import Batcher
from services.gateway.reading.chain import Reading


@dataclass
class Observer:
    waiting: int = 0
    batches: list[int] = field(default_factory=list)
    readings: int = 0

    def queue_changed(self, by: int) -> None:
        self.waiting += by

    def batch_started(self, images: int, waited_s: list[float]) -> None:
        self.waiting -= images
        self.batches.append(images)

    def batch_read(self, reading: Reading) -> None:
        self.readings += 1


class Chain:
    """Reads the tag that a test wrote into each image; takes its time, or fails, as told."""

    def __init__(self, takes_s: float = 0.0, failure: Exception | None = None) -> None:
        self.takes_s = takes_s
        self.failure = failure
        self.running = self.most_running = 0
        self.cancelled = 0
        self.metadata: list[object] = []

    async def __call__(self, images, applied, call) -> Reading:
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        self.metadata.append(call.metadata)
        try:
            await asyncio.sleep(self.takes_s)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.running -= 1
        if self.failure is not None:
            raise self.failure
        tags = images[:, 0, 0, 0]
        scores = np.zeros((len(images), 10), np.float32)
        scores[:, 0] = tags
        return Reading(
            digits=tags.astype(int),
            scores=scores,
            confidences=scores.max(axis=1),
            pictures=(images,),
            applied=applied,
            denoiser_version=1,
            classifier_version=1,
            timings_ms={"denoise": 1.0, "classify": 1.0},
        )


def tagged(*tags: float) -> np.ndarray:
    images = np.zeros((len(tags), 28, 28, 1), np.float32)
    images[:, 0, 0, 0] = tags
    return images


def make(chain: Chain, observer: Observer | None = None, **settings: object) -> Batcher:
    settings = {"batch_images": 8, "in_flight": 2, "queue_images": 64, **settings}
    return Batcher(chain, observer=observer or Observer(), **settings)


async def submit(
    batcher: Batcher, *tags: float, budget_s: float = 5.0, metadata: tuple = (), **options: object
) -> Reading:
    images = tagged(*tags)
    deadline = Deadline.after(budget_s)
    call = CallContext(deadline, metadata)
    return await deadline.wait_for(batcher.submit(images, np.ones(len(tags), bool), call=call, **options))


def test_a_lone_request_is_a_batch_of_its_own_at_once():
    observer, chain = Observer(), Chain(takes_s=0.01)

    async def run() -> Reading:
        alone = asyncio.create_task(submit(make(chain, observer), 3, 4))
        for _ in range(10):  # turns of the loop, which is no time
            await asyncio.sleep(0)
        assert chain.running == 1
        return await alone

    reading = asyncio.run(run())

    assert reading.digits.tolist() == [3, 4]
    assert observer.batches == [2]


def test_requests_of_the_same_moment_travel_together():
    observer = Observer()

    async def run() -> None:
        batcher = make(Chain(), observer)
        await asyncio.gather(*(submit(batcher, tag) for tag in range(6)))

    asyncio.run(run())

    assert observer.batches == [6]


def test_beside_calls_under_way_only_a_full_batch_starts_where_partial_ones_are_fewer():
    observer, chain = Observer(), Chain(takes_s=0.2)

    async def run() -> None:
        batcher = make(chain, observer, batch_images=4, in_flight=3, partial_in_flight=1)
        tasks, started = [], []
        for tags in ((0,), (1, 2), (3,), (4, 5), (6,)):
            tasks.append(asyncio.create_task(submit(batcher, *tags)))
            await asyncio.sleep(0.005)
            started.append(list(observer.batches))
        assert started == [[1], [1], [1], [1, 3], [1, 3]]  # of five that wait then, three are whole requests
        await asyncio.gather(*tasks)

    asyncio.run(run())

    assert observer.batches == [1, 3, 3]
    assert chain.most_running == 2


def test_while_the_allowed_calls_are_under_way_the_next_batch_gathers():
    observer, chain = Observer(), Chain(takes_s=0.2)

    async def run() -> None:
        batcher = make(chain, observer, batch_images=100)
        first = asyncio.create_task(submit(batcher, 0))
        await asyncio.sleep(0.005)
        second = asyncio.create_task(submit(batcher, 1))
        await asyncio.sleep(0.005)
        late = [asyncio.create_task(submit(batcher, tag)) for tag in range(2, 12)]
        await asyncio.gather(first, second, *late)

    asyncio.run(run())

    assert observer.batches == [1, 1, 10]
    assert chain.most_running == 2


def test_rows_never_reach_another_caller():
    """Hundreds of callers with one to five tagged images each, many at the same time."""
    rng = np.random.default_rng(3)

    async def caller(batcher: Batcher, tags: np.ndarray) -> bool:
        await asyncio.sleep(float(tags[0]) % 7 / 1000)
        reading = await submit(batcher, *tags)
        return np.array_equal(reading.scores[:, 0], tags) and np.array_equal(reading.denoised[:, 0, 0, 0], tags)

    async def run() -> list[bool]:
        batcher = make(Chain(takes_s=0.001), queue_images=10_000)
        tags = [rng.integers(0, 1 << 20, rng.integers(1, 6)).astype(np.float32) for _ in range(500)]
        return await asyncio.gather(*(caller(batcher, each) for each in tags))

    assert all(asyncio.run(run()))


def test_a_full_queue_refuses_at_once_and_says_when_to_come_back():
    async def run() -> None:
        batcher = make(Chain(takes_s=0.05), queue_images=4, batch_images=1, in_flight=1)
        waiting = [asyncio.create_task(submit(batcher, tag)) for tag in range(5)]
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError) as refused:
            await submit(batcher, 9)
        assert refused.value.retry_after_s >= 1
        assert [reading.digits[0] for reading in await asyncio.gather(*waiting)] == [0, 1, 2, 3, 4]

    asyncio.run(run())


def test_a_deadline_ends_the_wait_in_the_queue_and_frees_its_place():
    observer = Observer()

    async def run() -> None:
        batcher = make(Chain(takes_s=0.2), observer, in_flight=1, batch_images=1)
        first = asyncio.create_task(submit(batcher, 0))
        await asyncio.sleep(0.01)
        with pytest.raises(DeadlineError, match="20 ms were used up"):
            await submit(batcher, 1, budget_s=0.02)
        assert observer.waiting == 0
        await first

    asyncio.run(run())

    assert observer.batches == [1]


def test_one_deadline_does_not_end_the_batch_of_others():
    async def run() -> None:
        chain = Chain(takes_s=0.05)
        batcher = make(chain)
        patient = asyncio.create_task(submit(batcher, 5))
        with pytest.raises(DeadlineError, match="10 ms were used up"):
            await submit(batcher, 6, budget_s=0.01)
        assert (await patient).digits.tolist() == [5]
        assert chain.cancelled == 0

    asyncio.run(run())


def test_a_call_that_nobody_waits_for_is_given_up():
    """Callers who left, or ran out of time, must not keep a slot that others need."""
    chain = Chain(takes_s=10)

    async def run() -> Reading:
        batcher = make(chain, in_flight=1)
        gone = asyncio.create_task(submit(batcher, 1))
        await asyncio.sleep(0.01)
        gone.cancel()
        await asyncio.sleep(0.01)
        chain.takes_s = 0.0
        return await submit(batcher, 2, budget_s=1)

    assert asyncio.run(run()).digits.tolist() == [2]
    assert chain.cancelled == 1


def test_a_failing_call_fails_its_callers_and_the_next_one_works():
    chain = Chain(failure=ModelUnavailableError("down"))

    async def run() -> Reading:
        batcher = make(chain)
        outcomes = await asyncio.gather(submit(batcher, 1), submit(batcher, 2), return_exceptions=True)
        assert all(isinstance(outcome, ModelUnavailableError) for outcome in outcomes)
        chain.failure = None
        return await submit(batcher, 3)

    assert asyncio.run(run()).digits.tolist() == [3]


def test_work_that_cannot_be_done_in_time_is_refused_early():
    async def run() -> None:
        batcher = make(Chain(takes_s=0.05), batch_images=4)
        await submit(batcher, 1, 2, 3, 4)  # 50 ms for 4 images
        with pytest.raises(DeadlineError, match="refused early"):
            await submit(batcher, 1, 2, 3, 4, budget_s=1.0, more=4000)

    asyncio.run(run())


def test_a_small_batch_says_nothing_about_how_fast_full_ones_are():
    async def run() -> Reading:
        batcher = make(Chain(takes_s=0.05), batch_images=8)
        await submit(batcher, 1)  # 50 ms for one image
        return await submit(batcher, 2, budget_s=1.0, more=400)  # 20 s at that pace

    assert asyncio.run(run()).digits.tolist() == [2]


def test_a_lone_small_request_is_always_tried():
    """However slow the models were a moment ago."""

    async def run() -> Reading:
        chain = Chain(takes_s=0.3)
        batcher = make(chain, batch_images=2)
        await submit(batcher, 1, 2)
        chain.takes_s = 0.0
        return await submit(batcher, 3, budget_s=0.05)

    assert asyncio.run(run()).digits.tolist() == [3]


def test_a_callers_metadata_goes_with_the_batch():
    chain = Chain()
    asyncio.run(submit(make(chain), 1, metadata=(("x-request-id", "a"),)))

    assert chain.metadata == [(("x-request-id", "a"),)]


def test_a_wait_gathers_company():
    observer = Observer()

    async def run() -> None:
        batcher = make(Chain(), observer, wait_s=0.02)
        first = asyncio.create_task(submit(batcher, 1))
        await asyncio.sleep(0.005)
        await asyncio.gather(first, submit(batcher, 2))

    asyncio.run(run())

    assert observer.batches == [2]
