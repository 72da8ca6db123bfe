"""The README's picture, noisy -> denoised -> digit, from the running chain."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from services.core.noise import Images
from services.evaluator.client import GatewayClient
from services.evaluator.data import dataset
from services.evaluator.measure import quality
from services.evaluator.measure.experiment import Condition
from services.evaluator.measure.results import HEADLINE_LEVEL, HEADLINE_NOISE

STRIP = Path(__file__).parents[3] / "docs" / "img" / "digits.png"
INK, MUTED, WRONG = "#171a21", "#626b7a", "#c0353a"


def draw_strip(client: GatewayClient, data: dataset.Dataset, seed: int, path: Path) -> None:
    """The first image of each digit, under the headline noise, through the chain."""
    chosen = np.array([np.flatnonzero(data.labels == digit)[0] for digit in np.unique(data.labels)])
    noisy = Condition(HEADLINE_NOISE, HEADLINE_LEVEL).apply(data.images, seed)[chosen]
    answer = client.recognize(noisy, "always", include="denoised")
    read = [(result["digit"], result["confidence"]) for result in answer["results"]]
    path.parent.mkdir(parents=True, exist_ok=True)
    strip(noisy, quality.returned_images(answer), data.labels[chosen].tolist(), read).savefig(path, dpi=160)


def strip(noisy: Images, denoised: Images, labels: Sequence[int], read: Sequence[tuple[int, float]]) -> Figure:
    """Noisy above denoised above the answer, one column for each image; wrong answers in red."""
    with matplotlib.rc_context({"font.size": 11}):
        figure = Figure(figsize=(1.05 * len(labels) + 1.1, 3.0), facecolor="white")
        panel = figure.add_axes((0, 0, 1, 1))
        panel.set_xlim(-1.05, len(labels))
        panel.set_ylim(2.78, -0.08)
        panel.axis("off")
        for row, (title, pictures) in enumerate((("noisy", noisy), ("denoised", denoised))):
            panel.text(-0.12, row + 0.5, title, ha="right", va="center", color=MUTED)
            for column, picture in enumerate(pictures):
                box = (column + 0.04, column + 0.96, row + 0.96, row + 0.04)
                panel.imshow(picture[..., 0], cmap="gray", vmin=0, vmax=1, extent=box, interpolation="nearest")
                panel.add_patch(Rectangle((box[0], box[3]), 0.92, 0.92, fill=False, edgecolor="#e1e5eb", linewidth=0.8))
        panel.text(-0.12, 2.3, "read as", ha="right", va="center", color=MUTED)
        for column, (label, (digit, confidence)) in enumerate(zip(labels, read, strict=True)):
            colour = INK if digit == label else WRONG
            panel.text(column + 0.5, 2.26, str(digit), ha="center", va="center", size=19, weight="bold", color=colour)
            panel.text(column + 0.5, 2.6, f"{100 * confidence:.1f} %", ha="center", va="center", size=8.5, color=MUTED)
        panel.set_aspect("auto")
        return figure
