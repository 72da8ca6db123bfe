"""How a checked request reaches the engine: the seam, and the straight way through it."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from services.model_server.signatures import Signature
from services.model_server.statuses import Code, StatusError
from services.model_server.versions.servable import Servable

Arrays = Mapping[str, np.ndarray]


class Runner(Protocol):
    """Computes the named outputs, perhaps together with other callers' rows; `deadline` is in monotonic time."""

    def run(
        self, servable: Servable, signature: Signature, inputs: Arrays, names: Sequence[str], *, deadline: float | None
    ) -> list[np.ndarray]:
        """Return the outputs in the order of `names`."""
        ...


class DirectRunner:
    """Each request on its own, in the thread that brought it, as many at once as there are slots.

    More calls inside the engine than cores would only take turns, each holding its buffers: 64-image calls from
    four clients ran at half the speed in twice the memory.
    """

    def __init__(self, slots: int) -> None:
        self._slots = threading.Semaphore(slots)

    def run(
        self, servable: Servable, signature: Signature, inputs: Arrays, names: Sequence[str], *, deadline: float | None
    ) -> list[np.ndarray]:
        """Compute now, or as soon as a slot is free and the deadline has not passed."""
        remaining = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not self._slots.acquire(timeout=remaining):
            raise StatusError(Code.DEADLINE_EXCEEDED, "the deadline passed before a thread was free")
        try:
            return servable.engine.run(signature.key, inputs, names)
        finally:
            self._slots.release()
