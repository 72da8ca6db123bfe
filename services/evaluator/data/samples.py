"""Digits with answers known beforehand, for load tests: a fast wrong answer counts as a failure, not as a success."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.core.images import encode_png
from services.core.noise import gaussian
from services.evaluator.data.dataset import Dataset
from services.evaluator.errors import DatasetError
from services.evaluator.in_process import InProcessChain

LEVEL = 0.3
MARGIN = 0.2  # between the best and the second digit: no engine's rounding turns such an answer


@dataclass(frozen=True, slots=True)
class Samples:
    """Noisy 8-bit pictures (n, 28, 28) and the digits the chain has to read in them."""

    pixels: NDArray[np.uint8]
    digits: NDArray[np.int64]

    def pngs(self) -> list[bytes]:
        """Each picture as a PNG."""
        return [encode_png(picture[..., None] / np.float32(255)) for picture in self.pixels]

    def save(self, path: Path) -> None:
        """For another process to read."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, pixels=self.pixels, digits=self.digits)

    @classmethod
    def read(cls, path: Path) -> Samples:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            return cls(file["pixels"], file["digits"])


def choose(dataset: Dataset, chain: InProcessChain, *, count: int, seed: int) -> Samples:
    """Noisy images, rounded to 8 bits as clients send them, on which the in-process chain is right beyond doubt."""
    noisy = gaussian(dataset.images, LEVEL, np.random.default_rng(seed))
    pixels = np.rint(255 * noisy[..., 0]).astype(np.uint8)
    scores = chain.classify(chain.denoise((pixels[..., None] / np.float32(255)).astype(np.float32)))
    best = np.sort(scores, axis=1)
    sure = (scores.argmax(axis=1) == dataset.labels) & (best[:, -1] - best[:, -2] > MARGIN)
    chosen = np.flatnonzero(sure)[:count]
    if len(chosen) < 2 or len(set(dataset.labels[chosen])) < 2:
        raise DatasetError(
            f"of {len(dataset)} images the chain reads only {len(chosen)} beyond doubt: too few to check by"
        )
    return Samples(pixels[chosen], dataset.labels[chosen])
