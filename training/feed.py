"""Batches made ahead in another process and handed over in shared memory: a step finds its arrays ready, uncopied.

The process imports NumPy and OpenCV alone, so that it starts in a second and never holds what a GPU needs.
"""

from __future__ import annotations

import ctypes
import multiprocessing
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Semaphore
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from training.batches import Batch, BatchMaker
from training.errors import TrainingError

SLOTS = 6
PATIENCE_S = 120.0
ALIVE_S = 1.0  # how often the producer looks whether the trainer is still there
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


class Feed:
    """A producer of batches; `epoch(n)` yields views that hold until the next one is asked for."""

    def __init__(self, maker: BatchMaker, *, first_epoch: int, epochs: int) -> None:
        example = maker.make(0, 0)
        self._shapes = {name: (array.shape, array.dtype) for name, array in example.items()}
        self._steps = maker.steps
        context = multiprocessing.get_context("spawn")
        self._free, self._ready = context.Semaphore(SLOTS), context.Semaphore(0)
        self._memory = SharedMemory(create=True, size=SLOTS * sum(array.nbytes for array in example.values()))
        self._process = context.Process(
            target=_produce,
            args=(maker, self._memory.name, self._shapes, self._free, self._ready, range(first_epoch, epochs)),
            daemon=True,
        )
        self._process.start()
        self._taken = 0

    def epoch(self) -> Iterator[Batch]:
        """The batches of one epoch."""
        slots = _slots(self._memory, self._shapes)
        for _ in range(self._steps):
            if not self._ready.acquire(timeout=PATIENCE_S):
                raise TrainingError(f"no batch within {PATIENCE_S:.0f} s; the process that makes them has stopped")
            yield slots[self._taken % SLOTS]
            self._taken += 1
            self._free.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()
        self._memory.close()
        self._memory.unlink()


def keep_freed_memory() -> None:
    """Tell glibc to keep what is freed: fresh pages cost a quarter of a training step. Elsewhere nothing happens."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, 1 << 30)
        mallopt(M_TRIM_THRESHOLD, 1 << 30)


def _produce(
    maker: BatchMaker,
    memory_name: str,
    shapes: dict[str, tuple[tuple[int, ...], np.dtype]],
    free: Semaphore,
    ready: Semaphore,
    epochs: range,
) -> None:
    cv2.setNumThreads(1)  # pictures are too small to be shared between threads
    memory = SharedMemory(memory_name)
    slots = _slots(memory, shapes)
    made = 0
    for epoch in epochs:
        for step in range(maker.steps):
            batch = maker.make(epoch, step)
            if not _granted(free):
                return
            for name, array in slots[made % SLOTS].items():
                array[...] = batch[name]
            made += 1
            ready.release()
    while _granted(free):  # the memory belongs to both: stay until ended
        pass


def _granted(free: Semaphore) -> bool:
    """Wait for a free slot; False when the process that trains is gone."""
    while not free.acquire(timeout=ALIVE_S):
        parent = multiprocessing.parent_process()
        if parent is None or not parent.is_alive():
            return False
    return True


def _slots(memory: SharedMemory, shapes: dict[str, tuple[tuple[int, ...], np.dtype]]) -> list[Batch]:
    slots: list[Batch] = []
    start = 0
    for _ in range(SLOTS):
        slot = {}
        for name, (shape, dtype) in shapes.items():
            slot[name] = np.ndarray(shape, dtype, memory.buf, start)
            start += slot[name].nbytes
        slots.append(slot)
    return slots
