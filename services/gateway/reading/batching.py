"""Concurrent requests become few calls of the chain: each call takes what waits, and a bounded number run at once.

Everything here happens on one event loop, so there are no locks. Nothing waits for company unless told to: a lone
request starts at once, and while the allowed calls are under way the next batch gathers by itself.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Generic, Protocol, Self, TypeVar

import numpy as np

from services.core.errors import DeadlineError, OverloadedError
from services.gateway.deadlines import Deadline
from services.gateway.models.transport import CallContext


class Rows(Protocol):
    """What a chain answers for a batch; `rows` is the part that belongs to one caller."""

    def rows(self, start: int, stop: int, queued_ms: float) -> Self: ...


R = TypeVar("R", bound=Rows)
Observed = TypeVar("Observed", contravariant=True)
Chain = Callable[[np.ndarray, np.ndarray, CallContext], Awaitable[R]]

_PACE_IS_FRESH_S = 30.0
_NEWEST_WEIGHS = 0.2


class BatchObserver(Protocol[Observed]):
    """Who wants to know about batches; the metrics do."""

    def queue_changed(self, by: int) -> None: ...

    def batch_started(self, images: int, waited_s: list[float]) -> None: ...  # these left the queue

    def batch_read(self, reading: Observed) -> None: ...


@dataclass(slots=True, eq=False)
class _Item(Generic[R]):
    """One caller's images, waiting or under way."""

    images: np.ndarray
    applied: np.ndarray
    call: CallContext
    answer: asyncio.Future[R]
    arrived_s: float
    batch: "_Batch[R] | None" = None


@dataclass(slots=True, eq=False)
class _Batch(Generic[R]):
    """Items that go through the chain together."""

    items: list[_Item[R]]
    images: int
    started_s: float
    live: int  # callers still waiting for it
    task: asyncio.Task[R] = field(init=False)


class Batcher(Generic[R]):
    """Gathers images for `chain`; `submit` is all that callers see."""

    def __init__(
        self,
        chain: Chain[R],
        *,
        observer: BatchObserver[R],
        batch_images: int,
        in_flight: int,
        queue_images: int,
        wait_s: float = 0.0,
        partial_in_flight: int | None = None,
    ) -> None:
        """With `partial_in_flight` calls under way, only a full batch starts another; None: any batch does."""
        self._chain = chain
        self._observer = observer
        self._batch_images = batch_images
        self._in_flight = in_flight
        self._queue_images = queue_images
        self._wait_s = wait_s
        self._partial_in_flight = partial_in_flight or in_flight
        self._waiting: deque[_Item[R]] = deque()
        self._waiting_images = 0
        self._running = 0
        self._start_is_due = False
        self._pace = _Pace()

    async def submit(self, images: np.ndarray, applied: np.ndarray, *, call: CallContext, more: int = 0) -> R:
        """The reading of `images`; a caller who stops waiting, at the deadline or before, cancels.

        `more` says how many images of the same request will follow, for the estimate of time.
        """
        loop = asyncio.get_running_loop()
        self._refuse_what_cannot_be_done(len(images), more, call.deadline)
        item: _Item[R] = _Item(images, applied, call, loop.create_future(), time.monotonic())
        self._waiting.append(item)
        self._count_waiting(len(images))
        if self._may_start():
            self._start_soon(loop)
        try:
            return await item.answer
        finally:
            if item.answer.cancelled():  # the caller is gone
                self._abandon(item)

    def _refuse_what_cannot_be_done(self, images: int, more: int, deadline: Deadline) -> None:
        left_s = deadline.remaining_s()
        if not left_s:
            raise deadline.error("before its turn")
        ahead = self._waiting_images
        starting = (self._in_flight - self._running) * self._batch_images  # these leave the queue in a moment
        if ahead and ahead + images > self._queue_images + starting:
            retry_after_s = max(1.0, self._pace.seconds(ahead))
            raise OverloadedError(f"{ahead} images are waiting already", retry_after_s=retry_after_s)
        expected_s = self._pace.seconds(ahead + images + more) if ahead or more else 0.0
        if expected_s > left_s:
            raise DeadlineError(f"refused early: about {expected_s:.2f} s of work, {left_s:.2f} s left for it")

    def _start_soon(self, loop: asyncio.AbstractEventLoop) -> None:
        """At the end of this turn of the loop, so that requests of the same turn share a batch."""
        if self._start_is_due:
            return
        self._start_is_due = True
        if self._wait_s:
            loop.call_later(self._wait_s, self._start)
        else:
            loop.call_soon(self._start)

    def _start(self) -> None:
        self._start_is_due = False
        while self._may_start() and (batch := self._take()):
            self._running += 1
            call = max((item.call for item in batch.items), key=lambda each: each.deadline.at_s)
            if len(batch.items) == 1:
                images, applied = batch.items[0].images, batch.items[0].applied
            else:
                images = np.concatenate([item.images for item in batch.items])
                applied = np.concatenate([item.applied for item in batch.items])
            batch.task = asyncio.ensure_future(self._chain(images, applied, call))
            batch.task.add_done_callback(partial(self._finish, batch))

    def _may_start(self) -> bool:
        most = self._in_flight if self._waiting_images >= self._batch_images else self._partial_in_flight
        return self._running < most

    def _take(self) -> _Batch[R] | None:
        """The next items that fit into one call."""
        items: list[_Item[R]] = []
        images = 0
        while self._waiting:
            item = self._waiting[0]
            if items and images + len(item.images) > self._batch_images:
                break
            self._waiting.popleft()
            items.append(item)
            images += len(item.images)
        if not items:
            return None
        self._waiting_images -= images
        now = time.monotonic()
        batch = _Batch(items, images, now, live=len(items))
        for item in items:
            item.batch = batch
        self._observer.batch_started(images, [now - item.arrived_s for item in items])
        return batch

    def _finish(self, batch: _Batch[R], task: asyncio.Task[R]) -> None:
        running, self._running = self._running, self._running - 1
        failure = None if task.cancelled() else task.exception()
        if task.cancelled() or failure:
            for item in batch.items:
                if not item.answer.done():
                    item.answer.set_exception(failure) if failure else item.answer.cancel()
        else:
            if batch.images * 2 >= self._batch_images:  # small batches would make work look slower than it is
                self._pace.note((time.monotonic() - batch.started_s) / batch.images / running)
            self._observer.batch_read(task.result())
            self._hand_out(batch, task.result())
        self._start()

    @staticmethod
    def _hand_out(batch: _Batch[R], reading: R) -> None:
        start = 0
        for item in batch.items:
            stop = start + len(item.images)
            if not item.answer.done():
                queued_ms = 1e3 * (batch.started_s - item.arrived_s)
                item.answer.set_result(reading.rows(start, stop, queued_ms))
            start = stop

    def _abandon(self, item: _Item[R]) -> None:
        """The caller is gone: drop the item; without any caller left the batch's call is cancelled."""
        if item.batch is None:
            self._waiting.remove(item)
            self._count_waiting(-len(item.images))
            return
        item.batch.live -= 1
        if item.batch.live == 0:
            item.batch.task.cancel()

    def _count_waiting(self, change: int) -> None:
        self._waiting_images += change
        self._observer.queue_changed(change)


class _Pace:
    """How long an image takes at full batches: a moving average, forgotten when it is old."""

    def __init__(self) -> None:
        self._s_per_image = 0.0
        self._noted_at_s = -math.inf

    def note(self, s_per_image: float) -> None:
        old = self._s_per_image if self._is_fresh() else s_per_image
        self._s_per_image = old + _NEWEST_WEIGHS * (s_per_image - old)
        self._noted_at_s = time.monotonic()

    def seconds(self, images: int) -> float:
        """The time `images` take; 0 when nothing was measured lately."""
        return images * self._s_per_image if self._is_fresh() else 0.0

    def _is_fresh(self) -> bool:
        return time.monotonic() - self._noted_at_s < _PACE_IS_FRESH_S
