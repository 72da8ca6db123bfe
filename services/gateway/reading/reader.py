"""The chain as requests use it: decides what to denoise, cuts large requests into slices, joins the parts.

Reader lives on the event loop; BlockingReader is the same for code in threads, which is how Flask's views run.
"""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import CancelledError, Future
from contextvars import ContextVar
from dataclasses import replace
from typing import Any, Protocol, TypeVar

import numpy as np

from services.core.errors import ClientGoneError, ServiceError
from services.core.noise_level import estimate, worth_denoising
from services.core.preprocessing import to_unit
from services.gateway.deadlines import Deadline
from services.gateway.models.remote import Model, Prediction, VersionStatus
from services.gateway.models.transport import Metadata
from services.gateway.reading.batching import Batcher
from services.gateway.reading.chain import Reading

T = TypeVar("T")


class Calls:
    """What one request in a thread waits for on the loop; given up together when its client is gone."""

    def __init__(self) -> None:
        self._futures: list[Future[Any]] = []
        self._given_up = False

    def add(self, future: "Future[Any]") -> None:
        """One more; it is cancelled at once if the client went away meanwhile."""
        self._futures.append(future)
        if self._given_up:
            future.cancel()

    def give_up(self) -> None:
        """Cancel all, those to come too."""
        self._given_up = True
        for future in self._futures:
            future.cancel()


calls_of_thread: ContextVar[Calls | None] = ContextVar("calls_of_thread", default=None)


class Reader:
    """Images -> Reading, batched with whatever else is under way."""

    def __init__(self, *, denoiser: Model, classifier: Model, batcher: Batcher, slice_images: int, slices: int) -> None:
        self.denoiser = denoiser
        self.classifier = classifier
        self._batcher = batcher
        self._slice_images = slice_images
        self._choices = np.zeros(slice_images, bool), np.ones(slice_images, bool)  # ready-made: most requests are small
        self._slices = slices  # of one request, waiting or under way: others find room between them

    async def read(
        self, images: np.ndarray, *, denoise: str = "always", deadline: Deadline, metadata: Metadata = ()
    ) -> Reading:
        """Read every image; `denoise` is always, never or auto (by an estimate of each image's noise).

        Whole numbers from 0 to 255 are taken for what `to_digits` left whole; a slice is scaled when its turn comes.
        Whoever calls ends the wait at the deadline; here it says what can be tried.
        """
        if len(images) <= self._slice_images or denoise == "auto":
            images = to_unit(images)
        levels = estimate(images) if denoise == "auto" else None
        applied = (
            self._all_or_none(len(images), denoise == "always") if levels is None else worth_denoising(images, levels)
        )
        if len(images) <= self._slice_images:
            reading = await self._batcher.submit(images, applied, deadline=deadline, metadata=metadata)
        else:
            reading = await self._read_slices(images, applied, deadline, metadata)
        return reading if levels is None else replace(reading, noise_levels=levels)

    def _all_or_none(self, count: int, choice: bool) -> np.ndarray:
        return self._choices[choice][:count] if count <= self._slice_images else np.full(count, choice)

    async def close(self) -> None:
        """Let go of the model servers."""
        await asyncio.gather(self.denoiser.close(), self.classifier.close())

    async def _read_slices(
        self, images: np.ndarray, applied: np.ndarray, deadline: Deadline, metadata: Metadata
    ) -> Reading:
        """A few slices under way at once, so that one is classified while the next is denoised."""
        gate = asyncio.Semaphore(self._slices)

        async def read_slice(start: int) -> Reading:
            rows = slice(start, start + self._slice_images)
            async with gate:
                return await self._batcher.submit(
                    to_unit(images[rows]),
                    applied[rows],
                    deadline=deadline,
                    metadata=metadata,
                    more=max(0, len(images) - rows.stop),
                )

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(read_slice(start)) for start in range(0, len(images), self._slice_images)]
        except* ServiceError as failures:
            failure = failures.exceptions[0]
        else:
            return Reading.joined([task.result() for task in tasks])
        raise failure


class BlockingModel:
    """A Model for code in threads."""

    def __init__(self, model: Model, loop: asyncio.AbstractEventLoop) -> None:
        self.name = model.name
        self._model = model
        self._loop = loop

    def predict(self, images: np.ndarray, *, deadline: Deadline, metadata: Metadata = ()) -> Prediction:
        """As Model.predict."""
        return _run(self._model.predict(images, deadline=deadline, metadata=metadata), self._loop)

    def status(self, *, timeout_s: float = 1.0) -> list[VersionStatus]:
        """As Model.status."""
        return _run(self._model.status(timeout_s=timeout_s), self._loop)


class BlockingReader:
    """A Reader for code in threads."""

    def __init__(self, reader: Reader, loop: asyncio.AbstractEventLoop) -> None:
        self.denoiser = BlockingModel(reader.denoiser, loop)
        self.classifier = BlockingModel(reader.classifier, loop)
        self._reader = reader
        self._loop = loop

    def read(
        self, images: np.ndarray, *, denoise: str = "always", deadline: Deadline, metadata: Metadata = ()
    ) -> Reading:
        """As Reader.read, and no longer than the deadline."""
        reading = self._reader.read(images, denoise=denoise, deadline=deadline, metadata=metadata)
        return _run(deadline.hold(reading), self._loop)


class ReaderLike(Protocol):
    """What views need: BlockingReader, or a stand-in."""

    denoiser: BlockingModel
    classifier: BlockingModel

    def read(
        self, images: np.ndarray, *, denoise: str = "always", deadline: Deadline, metadata: Metadata = ()
    ) -> Reading: ...


def _run(coroutine: Coroutine[Any, Any, T], loop: asyncio.AbstractEventLoop) -> T:
    future = asyncio.run_coroutine_threadsafe(coroutine, loop)
    calls = calls_of_thread.get()
    if calls is not None:
        calls.add(future)
    try:
        return future.result()
    except CancelledError as exc:
        raise ClientGoneError("the client closed the connection") from exc
