"""Is `denoise=auto` as good as the better of always and never, at every noise and off the centre? In process.

    python -m services.evaluator.studies.denoise_auto               the test images
    python -m services.evaluator.studies.denoise_auto --training    the images that the rule was chosen on

The rule is in services/core/noise_level.py. Exit status 1 when it loses more than 0.1 points anywhere on the grid.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from services.core.model_digest import pair
from services.core.noise import NOISES
from services.core.noise_level import estimate, worth_denoising
from services.evaluator.data import mnist
from services.evaluator.in_process import InProcessChain

LEVELS = (0.1, 0.25, 0.5, 0.75, 1.0)
MOVES_PX = (2, 3, 4, 5)  # of clean digits, down and aside
MOVED = "moved, px"
ALLOWED_POINTS = 0.1
SEED = 20261120


@dataclass(frozen=True, slots=True)
class DenoiseRow:
    """One cell of the grid, in percent."""

    noise: str
    level: float
    always: float
    never: float
    auto: float
    denoised: float  # share of the pictures that auto sent through the denoiser

    def __str__(self) -> str:
        """A line of a Markdown table."""
        shares = f"{self.always:.2f} | {self.never:.2f} | {self.auto:.2f} | {self.denoised:.1f} %"
        return f"| {self.noise} | {self.level:g} | {shares} | {self.lost:.2f} |"

    @property
    def lost(self) -> float:
        """Points that auto is behind the better of the two."""
        return max(self.always, self.never) - self.auto


def compare(chain: InProcessChain, images: np.ndarray, labels: np.ndarray) -> Iterator[DenoiseRow]:
    """Every cell of the grid, the clean pictures first."""
    cells = [("clean", 0.0), *((MOVED, px) for px in MOVES_PX), *((kind, level) for kind in NOISES for level in LEVELS)]
    for kind, level in cells:
        rng = np.random.default_rng(SEED)
        noisy = NOISES[kind](images, level, rng) if kind in NOISES else moved(images, int(level), rng)
        applied = worth_denoising(noisy, estimate(noisy))
        always = chain.classify(chain.denoise(noisy)).argmax(axis=1) == labels
        never = chain.classify(noisy).argmax(axis=1) == labels
        shares = (always, never, np.where(applied, always, never), applied)
        yield DenoiseRow(kind, level, *(100 * float(share.mean()) for share in shares))


def moved(images: np.ndarray, px: int, rng: np.random.Generator) -> np.ndarray:
    """Every picture moved by so many pixels up or down and as many to a side; what leaves the frame is gone."""
    _, height, width, _ = images.shape
    framed = np.pad(images, ((0, 0), (px, px), (px, px), (0, 0)))
    starts = px * rng.choice([0, 2], (len(images), 2))
    return np.stack([each[y : y + height, x : x + width] for each, (y, x) in zip(framed, starts, strict=True)])


def main(argv: list[str] | None = None) -> int:
    """Print the table; 1 if auto lost too much somewhere."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of the two models (models)")
    parser.add_argument("--version", type=int, help="version of both (the newest of each)")
    parser.add_argument("--dataset", type=Path, help="mnist.npz (else CLEARDIGITS_MNIST, else where Keras keeps it)")
    parser.add_argument("--images", type=int, default=10_000, help="how many (10000)")
    parser.add_argument("--training", action="store_true", help="training images in the place of test images")
    parser.add_argument("--report", type=Path, help="write the table into this file too")
    arguments = parser.parse_args(argv)

    part = "train" if arguments.training else "test"
    with np.load(arguments.dataset or mnist.find()) as arrays:
        pictures, labels = arrays[f"x_{part}"][-arguments.images :], arrays[f"y_{part}"][-arguments.images :]
    measured = pair(arguments.models, denoiser=arguments.version, classifier=arguments.version)
    chain = InProcessChain(arguments.models, denoiser=measured.denoiser, classifier=measured.classifier)
    lines = [
        f"{len(pictures)} {part} images, percent read right, seed {SEED}, {measured}. Made by `make denoise-auto`.",
        "",
        "| noise | level | always | never | auto | auto denoised | auto behind the better by |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    print("\n".join(lines))
    worst = 0.0
    for row in compare(chain, (pictures / np.float32(255))[..., None], labels):
        worst = max(worst, row.lost)
        lines.append(str(row))
        print(row, flush=True)
    lines += ["", f"At worst {worst:.2f} points behind; {ALLOWED_POINTS} are allowed."]
    print("\n".join(lines[-2:]))
    if arguments.report:
        arguments.report.write_text("\n".join(["# denoise=auto", "", *lines]) + "\n")
    return int(worst > ALLOWED_POINTS + 1e-9)


if __name__ == "__main__":
    sys.exit(main())
