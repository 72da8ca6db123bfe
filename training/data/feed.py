"""Batches made ahead in other processes and handed over in shared memory: a step finds its arrays ready, uncopied.

The processes import NumPy and OpenCV alone, so that each starts in a second and holds nothing that a GPU needs.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Semaphore
from types import TracebackType
from typing import Self

import cv2
import numpy as np

from training.data.batches import Batch, BatchMaker
from training.errors import TrainingError

SLOTS = 6  # of each maker
MAKERS = max(1, (os.cpu_count() or 1) // 3)  # processes; a step on a GPU waits for more than one makes
PATIENCE_S = 120.0
ALIVE_S = 1.0  # how often the producer looks whether the trainer is still there
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # of glibc's mallopt


class Feed:
    """Producers of batches in turn; `epoch()` yields views that hold until the next one is asked for."""

    def __init__(self, maker: BatchMaker, *, first_epoch: int, epochs: int, makers: int = MAKERS) -> None:
        example = maker.make(0, 0)
        self._shapes = {name: (array.shape, array.dtype) for name, array in example.items()}
        self._steps = maker.steps
        context = multiprocessing.get_context("spawn")
        self._free = [context.Semaphore(SLOTS) for _ in range(makers)]
        self._ready = [context.Semaphore(0) for _ in range(makers)]
        size = sum(array.nbytes for array in example.values())
        self._memory = SharedMemory(create=True, size=makers * SLOTS * size)
        todo = range(first_epoch * maker.steps, epochs * maker.steps)
        self._processes = [
            context.Process(
                target=_produce,
                args=(maker, self._memory.name, self._shapes, free, ready, todo[number::makers], number),
                daemon=True,
            )
            for number, (free, ready) in enumerate(zip(self._free, self._ready, strict=True))
        ]
        for process in self._processes:
            process.start()
        self._taken = 0

    def epoch(self) -> Iterator[Batch]:
        """The batches of one epoch."""
        makers = len(self._processes)
        slots = _slots(self._memory, self._shapes, makers * SLOTS)
        for _ in range(self._steps):
            turn, number = divmod(self._taken, makers)
            if not self._ready[number].acquire(timeout=PATIENCE_S):
                raise TrainingError(f"no batch within {PATIENCE_S:.0f} s; the process that makes them has stopped")
            yield slots[number * SLOTS + turn % SLOTS]
            self._taken += 1
            self._free[number].release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()
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
    batches: range,
    number: int,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the trainer ends this one
    cv2.setNumThreads(1)  # pictures are too small to be shared between threads
    memory = SharedMemory(memory_name)
    slots = _slots(memory, shapes, (number + 1) * SLOTS)[number * SLOTS :]
    for turn, which in enumerate(batches):
        batch = maker.make(*divmod(which, maker.steps))
        if not _granted(free):
            return
        for name, array in slots[turn % SLOTS].items():
            array[...] = batch[name]
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


def _slots(memory: SharedMemory, shapes: dict[str, tuple[tuple[int, ...], np.dtype]], count: int) -> list[Batch]:
    slots: list[Batch] = []
    start = 0
    for _ in range(count):
        slot = {}
        for name, (shape, dtype) in shapes.items():
            slot[name] = np.ndarray(shape, dtype, memory.buf, start)
            start += slot[name].nbytes
        slots.append(slot)
    return slots
