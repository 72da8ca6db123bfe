"""How a checked request reaches the engine: straight, or in a batch with others."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from services.model_server.servable import Servable
from services.model_server.signatures import Signature

Arrays = Mapping[str, np.ndarray]


class Runner(Protocol):
    """Computes the named outputs, perhaps together with other callers' rows; `deadline` is in monotonic time."""

    def run(
        self, servable: Servable, signature: Signature, inputs: Arrays, names: Sequence[str], *, deadline: float | None
    ) -> list[np.ndarray]:
        """Return the outputs in the order of `names`."""
        ...


class DirectRunner:
    """Each request on its own, in the thread that brought it."""

    def run(
        self, servable: Servable, signature: Signature, inputs: Arrays, names: Sequence[str], *, deadline: float | None
    ) -> list[np.ndarray]:
        """Nothing waits, so `deadline` does not matter here."""
        return servable.engine.run(signature.key, inputs, names)
