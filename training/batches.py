"""Batches for the joint training: every step sees fresh warps and fresh noise.

What a batch holds follows from (seed, epoch, step) alone, so a run that was interrupted goes on with the very batches
it would have seen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

import keras
import numpy as np

from services.core.noise import NOISES, Images
from training.augment import warp
from training.data import Digits

WARPED_SHARE = 0.75  # of the pictures, in epochs that warp


@dataclass(frozen=True, slots=True)
class NoiseMix:
    """How often each kind is drawn; what is missing to 1 stays clean. Levels are uniform in [0, 1] per image."""

    shares: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType(
            {"gaussian": 0.61} | {kind: 0.04 for kind in NOISES if kind != "gaussian"}
        )
    )

    def without(self, kind: str) -> NoiseMix:
        """The same mix with one kind held out, its share given to the others in proportion."""
        rest = {name: share for name, share in self.shares.items() if name != kind}
        stretch = sum(self.shares.values()) / sum(rest.values())
        return NoiseMix({name: share * stretch for name, share in rest.items()})

    def apply(self, clean: Images, rng: np.random.Generator) -> Images:
        """Give every picture a kind and a level of its own."""
        levels = rng.random(len(clean), dtype=np.float32)
        kinds = rng.choice(
            [*self.shares, "none"], size=len(clean), p=[*self.shares.values(), 1 - sum(self.shares.values())]
        )
        noisy = clean.copy()
        for kind in self.shares:
            chosen = np.flatnonzero(kinds == kind)
            if len(chosen):
                noisy[chosen] = NOISES[kind](clean[chosen], levels[chosen], rng)
        return noisy


class NoisyBatches(keras.utils.PyDataset):
    """`({"noisy", "clean"}, label)` batches; with no warped epochs and no shuffling they serve for validation."""

    def __init__(
        self,
        digits: Digits,
        mix: NoiseMix,
        *,
        batch_size: int,
        seed: int,
        warped_epochs: float = math.inf,
        shuffle: bool = True,
    ) -> None:
        super().__init__()
        self.digits, self.mix, self.batch_size, self.seed = digits, mix, batch_size, seed
        self.warped_epochs, self.shuffle = warped_epochs, shuffle
        self.epoch = 0  # set by FollowEpoch, so that a resumed run is in step

    def __len__(self) -> int:
        return len(self.digits) // self.batch_size  # the odd rest is in another epoch's shuffle

    def __getitem__(self, step: int) -> tuple[dict[str, Images], np.ndarray]:
        chosen = self.digits[self._order()[step * self.batch_size : (step + 1) * self.batch_size]]
        rng = np.random.default_rng((self.seed, 1, self.epoch, step))
        clean = chosen.images
        if self.epoch < self.warped_epochs:
            clean = warp(clean, rng, share=WARPED_SHARE)
        return {"noisy": self.mix.apply(clean, rng), "clean": clean}, chosen.labels

    def _order(self) -> np.ndarray:
        if not self.shuffle:
            return np.arange(len(self.digits))
        return np.random.default_rng((self.seed, 0, self.epoch)).permutation(len(self.digits))


class FollowEpoch(keras.callbacks.Callback):
    """Tells the batches which epoch it is, also after a resume."""

    def __init__(self, batches: NoisyBatches) -> None:
        super().__init__()
        self.batches = batches

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.batches.epoch = epoch
