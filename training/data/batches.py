"""Batches for the joint training: every step sees fresh warps, fresh noise, fresh outliers and fresh lines of digits.

What a batch holds follows from (seed, epoch, step) alone, so a run that was interrupted goes on with the very batches
it would have seen. NumPy and OpenCV only: another process makes them ahead (training/data/feed.py).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from services.core.noise import NOISES, Images, gaussian
from training.data.augment import SIDE_PX, warp
from training.data.dataset import Digits, Pictures
from training.data.glyphs import DIGITS, glyphs
from training.data.lines import STRIP_PX, cut_out, strips
from training.data.outliers import outliers

NO_DIGIT = -1  # the label of an outlier
OUTLIER_SHARE = 0.2
PRINTED_SHARE = 0.06  # of the digits; printed ones have flags and feet
CUT_OUT_SHARE = 0.08  # of the digits, cut out of a line
STRIPS_SHARE = 0.2  # of the pixels of a batch, more
WIDE_EARLY, WIDE_LATE = 0.45, 0.25  # shares of warps, in the epochs that warp and in the last ones
SMALL_EARLY, SMALL_LATE = 0.35, 0.15
GRAIN_SHARE, GRAIN = 0.15, 0.3  # of the noisy pictures get Gaussian noise of up to this level as well
EXTRA_SHARE = 0.1  # at most, of the digits and of the outliers: a user's labelled pictures
EXTRA_SHOWN = 20  # times an epoch that one of them is shown, at most: a handful must not be learnt by heart

Batch = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class NoiseMix:
    """How often each kind is drawn; what is missing to 1 stays clean. Levels are uniform in [0, 1] per image."""

    shares: Mapping[str, float] = field(
        default_factory=lambda: {"gaussian": 0.46} | {kind: 0.03 for kind in NOISES if kind != "gaussian"}
    )

    def without(self, kind: str) -> NoiseMix:
        """The same mix with one kind held out, its share given to the others in proportion."""
        rest = {name: share for name, share in self.shares.items() if name != kind}
        stretch = sum(self.shares.values()) / sum(rest.values())
        return NoiseMix({name: share * stretch for name, share in rest.items()})

    def apply(self, clean: Images, rng: np.random.Generator) -> Images:
        """Give every picture a kind and a level of its own, and some of them grain on top."""
        levels = rng.random(len(clean), dtype=np.float32)
        kinds = rng.choice(
            [*self.shares, "none"], size=len(clean), p=[*self.shares.values(), 1 - sum(self.shares.values())]
        )
        grainy = (rng.random(len(clean)) < GRAIN_SHARE) & (kinds != "none") & (kinds != "gaussian")
        noisy = clean.copy()
        for kind in self.shares:
            chosen = np.flatnonzero(kinds == kind)
            if len(chosen):
                noisy[chosen] = NOISES[kind](clean[chosen], levels[chosen], rng)
        if grainy.any():
            noisy[grainy] = gaussian(noisy[grainy], GRAIN * rng.random(grainy.sum(), dtype=np.float32), rng)
        return noisy


@dataclass(frozen=True, slots=True)
class BatchMaker:
    """Digits, then outliers, each clean and noisy, and strips. `warped_epochs` of them warp most digits.

    Some digits and outliers are replaced by those of `extra`. Their clean picture is not known: `has_clean` is 0 there.
    """

    digits: Digits
    mix: NoiseMix
    batch_size: int
    seed: int
    warped_epochs: float = math.inf
    extra: Pictures | None = None

    @property
    def outliers(self) -> int:
        """How many pictures of a batch show no digit."""
        return round(OUTLIER_SHARE * self.batch_size)

    @property
    def strips(self) -> int:
        """How many strips a batch holds."""
        return max(1, round(STRIPS_SHARE * self.batch_size * SIDE_PX / STRIP_PX))

    @property
    def steps(self) -> int:
        """How many batches show every digit once; the odd rest is in another epoch's shuffle."""
        return len(self.digits) // (self.batch_size - self.outliers)

    def make(self, epoch: int, step: int) -> Batch:
        """One batch: `noisy`, `clean`, `has_clean`, `labels`, and of the strips what training/data/lines.py tells."""
        rng = np.random.default_rng((self.seed, 1, epoch, step))
        count = self.batch_size - self.outliers
        order = _order(self.seed, epoch, len(self.digits))
        chosen = self.digits[order[step * count : (step + 1) * count]]
        warping = epoch < self.warped_epochs
        small, wide = (SMALL_EARLY, WIDE_EARLY) if warping else (SMALL_LATE, WIDE_LATE)
        written, labels = _with_printed(chosen, rng)
        written = warp(written, rng, small=small, wide=wide)
        beside = np.flatnonzero(rng.random(count) < CUT_OUT_SHARE)
        if len(beside):
            written[beside] = cut_out(chosen, beside, rng)
            labels[beside] = chosen.labels[beside]
        clean = np.concatenate([written, outliers(self.digits, self.outliers, rng)])
        lines = strips(self.digits, self.strips, rng)
        batch = {
            "noisy": self.mix.apply(clean, rng),
            "clean": clean,
            "has_clean": np.ones(self.batch_size, np.float32),
            "labels": np.concatenate([labels, np.full(self.outliers, NO_DIGIT, labels.dtype)]),
            "noisy_strips": self.mix.apply(lines.images, rng),
            "clean_strips": lines.images,
            "strip_lefts": lines.lefts,
            "strip_masks": lines.masks,
            "strip_labels": lines.labels,
        }
        if self.extra:
            self._mix_in(self.extra, batch, np.random.default_rng((self.seed, 2, epoch, step)), small=small, wide=wide)
        return batch

    def _mix_in(self, extra: Pictures, batch: Batch, rng: np.random.Generator, *, small: float, wide: float) -> None:
        """Replace some digits and outliers of a batch; half of the pictures get no other noise than they came with."""
        count = self.batch_size - self.outliers
        for first, places, images, labels in (
            (0, count, extra.digits.images, extra.digits.labels),
            (count, self.outliers, extra.no_digit, np.full(len(extra.no_digit), NO_DIGIT)),
        ):
            share = min(EXTRA_SHARE, EXTRA_SHOWN * len(images) / (self.steps * places))
            replaced = first + np.flatnonzero(rng.random(places) < share)
            if not len(replaced):
                continue
            chosen = rng.integers(len(images), size=len(replaced))
            shown = warp(images[chosen], rng, small=small, wide=wide)
            as_it_came = rng.random((len(replaced), 1, 1, 1)) < 0.5
            batch["noisy"][replaced] = np.where(as_it_came, shown, self.mix.apply(shown, rng))
            batch["clean"][replaced] = shown
            batch["has_clean"][replaced] = 0
            batch["labels"][replaced] = labels[chosen]


@functools.lru_cache(maxsize=1)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
    return np.random.default_rng((seed, 0, epoch)).permutation(count)


def _with_printed(digits: Digits, rng: np.random.Generator) -> tuple[Images, np.ndarray]:
    """A few of the pictures replaced by printed digits."""
    printed = glyphs(DIGITS)
    replaced = np.flatnonzero(rng.random(len(digits)) < PRINTED_SHARE)
    chosen = rng.integers(len(printed.images), size=len(replaced))
    images, labels = digits.images.copy(), digits.labels.copy()
    images[replaced] = printed.images[chosen]
    labels[replaced] = printed.characters[chosen].astype(labels.dtype)
    return images, labels
