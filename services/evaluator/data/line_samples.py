"""The lines in docs/samples: python -m services.evaluator.data.line_samples [--dataset mnist.npz]

Made from test digits, the same for the same seed; each file is named after the number it shows.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from services.core.images import encode_png
from services.core.noise import gaussian
from services.evaluator import command
from services.evaluator.config import EvaluatorConfig
from services.evaluator.data import dataset, lines
from services.evaluator.data.lines import LineRecipe

SAMPLES: tuple[tuple[str, LineRecipe, float, int, bool], ...] = (  # name, recipe, noise, enlarged, black on white
    ("noisy", LineRecipe(), 0.5, 1, False),
    ("touching", LineRecipe(digits=(4, 4), gap_px=(-1, 0)), 0.25, 1, False),
    ("form", LineRecipe(digits=(6, 6), form="boxes"), 0.15, 1, True),
    ("scan", LineRecipe(digits=(7, 7), skew_degrees=6), 0.0, 4, True),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures."""
    about = "Draw the lines of digits in docs/samples."
    module = "services.evaluator.data.line_samples"
    return command.run(_run, _add_arguments, module=module, about=about, argv=argv, shared=("--dataset",))


def _run(arguments: argparse.Namespace, config: EvaluatorConfig) -> int:
    data = dataset.load(arguments.dataset)
    for place, (name, recipe, level, enlarged, black_on_white) in enumerate(SAMPLES):
        rng = np.random.default_rng([config.seed, place])
        line = lines.make(recipe, data.images, data.labels, 1, rng)[0]
        picture = gaussian(line.picture[np.newaxis, ..., np.newaxis], level, rng)[0]
        picture = picture.repeat(enlarged, axis=0).repeat(enlarged, axis=1)
        path = arguments.out / f"number-{line.number}-{name}.png"
        path.write_bytes(encode_png(1 - picture if black_on_white else picture))
        print(path)
    return 0


def _add_arguments(parser: argparse.ArgumentParser, config: EvaluatorConfig) -> None:
    parser.add_argument("--out", type=Path, default=Path("docs/samples"), help="folder for the pictures")


if __name__ == "__main__":
    sys.exit(main())
