"""The chain as requests use it: decides what to denoise, cuts large requests into slices, joins the parts."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from services.core.errors import ServiceError
from services.core.noise_level import estimate, worth_denoising
from services.core.preprocessing import to_unit
from services.gateway.models.remote import Model
from services.gateway.models.transport import CallContext
from services.gateway.reading.batching import Batcher
from services.gateway.reading.chain import Reading

_ESTIMATED_ON_THE_LOOP = 16  # images; more of them are estimated in a thread


class Reader:
    """Images -> Reading, batched with other requests."""

    def __init__(
        self,
        *,
        denoiser: Model,
        classifier: Model,
        batchers: Mapping[str, Batcher[Reading]],
        slice_images: int,
        slices: int,
    ) -> None:
        """A batcher for each label: what goes to different versions never shares a call."""
        self.denoiser = denoiser
        self.classifier = classifier
        self._batchers = batchers
        self._slice_images = slice_images
        self._choices = np.zeros(slice_images, bool), np.ones(slice_images, bool)  # ready-made: most requests are small
        self._slices = slices  # of one request, waiting or under way: others find room between them

    async def read(self, images: np.ndarray, *, denoise: str = "always", call: CallContext) -> Reading:
        """Read every image; `denoise` is always, never or auto (by an estimate of each image's noise).

        Whole numbers from 0 to 255 are taken for what `to_digits` left whole; a slice is scaled when its turn comes.
        The caller ends the wait at the deadline; here it says what can be tried.
        """
        if denoise == "auto":
            return await self._read_by_estimate(images, call)
        return await self._read(images, self._all_or_none(len(images), denoise == "always"), call)

    async def close(self) -> None:
        """Let go of the model servers."""
        await asyncio.gather(self.denoiser.close(), self.classifier.close())

    async def _read_by_estimate(self, images: np.ndarray, call: CallContext) -> Reading:
        if len(images) <= _ESTIMATED_ON_THE_LOOP:
            levels, applied = _estimated(images)
        else:
            levels, applied = await asyncio.to_thread(_estimated, images)
        return replace(await self._read(images, applied, call), noise_levels=levels)

    def _all_or_none(self, count: int, choice: bool) -> np.ndarray:
        return self._choices[choice][:count] if count <= self._slice_images else np.full(count, choice)

    async def _read(self, images: np.ndarray, applied: np.ndarray, call: CallContext) -> Reading:
        if len(images) <= self._slice_images:
            return await self._batchers[call.label].submit(to_unit(images), applied, call=call)
        return await self._read_slices(images, applied, call)

    async def _read_slices(self, images: np.ndarray, applied: np.ndarray, call: CallContext) -> Reading:
        """A few slices under way at once, so that one is classified while the next is denoised."""
        gate, batcher = asyncio.Semaphore(self._slices), self._batchers[call.label]

        async def read_slice(start: int) -> Reading:
            rows = slice(start, start + self._slice_images)
            async with gate:
                more = max(0, len(images) - rows.stop)
                return await batcher.submit(to_unit(images[rows]), applied[rows], call=call, more=more)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(read_slice(start)) for start in range(0, len(images), self._slice_images)]
        except* ServiceError as failures:
            failure = failures.exceptions[0]
        else:
            return Reading.joined([task.result() for task in tasks])
        raise failure


def _estimated(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The noise of each image, and whether the denoiser is worth it."""
    images = to_unit(images)
    levels = estimate(images)
    return levels, worth_denoising(images, levels)
