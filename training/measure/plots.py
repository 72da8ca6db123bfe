"""Figures for people: curves, picture rows, confusion, calibration, accuracy under noise, the worst mistakes.

Backgrounds are transparent and every ink is a mid tone, so a figure reads on a light page and on a dark one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from services.core.metrics import calibration_bins
from services.core.noise import Images

CHARTS_ACROSS = 4
INK = "#7d838c"  # 3.8:1 on white, 5.0:1 on GitHub's dark page
COLOURS = ("#2f86d1", "#d9730d", "#2e9e6b", "#c2569b", "#8a6fd8", "#b08d00", "#cc4b4b", "#5f8f9f")
STYLE: Any = {
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "savefig.transparent": True,
}


def curves(history: Mapping[str, Sequence[float]], path: Path) -> None:
    """Loss and accuracy per epoch, training and validation."""
    with matplotlib.rc_context(STYLE):
        shown = [name for name in ("loss", "accuracy") if name in history]
        figure = Figure(figsize=(3.6 * len(shown), 2.6), layout="constrained")
        for axes, name in zip(np.atleast_1d(figure.subplots(1, len(shown))), shown, strict=True):
            for key, label in ((name, "training"), (f"val_{name}", "validation")):
                if key in history:
                    axes.plot(range(1, len(history[key]) + 1), history[key], label=label)
            axes.set(xlabel="epoch", title=name)
            axes.xaxis.get_major_locator().set_params(integer=True)
            if name == "loss":
                axes.set_yscale("log")
            axes.grid(True)
            axes.legend()
        _save(figure, path)


def picture_rows(rows: Mapping[str, Images], path: Path) -> None:
    """One row of pictures per name: noisy, denoised, clean."""
    with matplotlib.rc_context(STYLE):
        count = len(next(iter(rows.values())))
        figure = Figure(figsize=(0.62 * count + 0.9, 0.66 * len(rows)), layout="constrained")
        for axes, (name, pictures) in zip(figure.subplots(len(rows), 1), rows.items(), strict=True):
            axes.imshow(_strip(pictures), cmap="gray", vmin=0, vmax=1)
            axes.set_ylabel(name, rotation=0, ha="right", va="center")
            _bare(axes)
        _save(figure, path)


def confusion(matrix: Sequence[Sequence[int]], path: Path) -> None:
    """Mistakes per pair of digits; the diagonal would drown them and is left out of the colours."""
    counts = np.asarray(matrix)
    mistakes = counts.astype(float)
    np.fill_diagonal(mistakes, np.nan)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.2, 3.9), layout="constrained")
        axes = figure.subplots()
        axes.imshow(mistakes, cmap="Oranges", vmin=0, vmax=max(1.0, np.nanmax(mistakes)) * 1.4)
        for (row, column), count in np.ndenumerate(counts):
            if count:
                axes.text(
                    column,
                    row,
                    str(count),
                    ha="center",
                    va="center",
                    fontsize=7,
                    color=INK if row == column else "#222222",
                )
        axes.set(xlabel="digit read", ylabel="true digit", xticks=range(10), yticks=range(10))
        _save(figure, path)


def calibration(labels: np.ndarray, scores: Mapping[str, np.ndarray], path: Path) -> None:
    """Reliability diagram: accuracy against confidence, one line per test set."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(3.8, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=":")
        for name, probabilities in scores.items():
            # fewer than ten say nothing
            filled = [each for each in calibration_bins(labels, probabilities) if each.count >= 10]
            axes.plot(
                [each.confidence for each in filled],
                [each.accuracy for each in filled],
                marker="o",
                markersize=3,
                label=name,
            )
        axes.set(xlabel="confidence", ylabel="accuracy")
        axes.grid(True)
        axes.legend()
        _save(figure, path)


def accuracy_under_noise(
    chain: Mapping[str, Mapping[str, float]],
    alone: Mapping[str, Mapping[str, float]] | None,
    clean: tuple[float, float],
    path: Path,
) -> None:
    """One small chart per kind: accuracy over the level, with the denoiser and without."""
    with matplotlib.rc_context(STYLE):
        rows = math.ceil(len(chain) / CHARTS_ACROSS)
        figure = Figure(figsize=(9, 2.2 * rows), layout="constrained")
        grid = figure.subplots(rows, CHARTS_ACROSS, sharex=True, sharey=True, squeeze=False)
        for axes in grid.flat[len(chain) :]:
            axes.remove()
        for axes, kind in zip(grid.flat, chain, strict=False):
            levels = [0.0, *map(float, chain[kind])]
            axes.plot(levels, [100 * clean[0], *(100 * value for value in chain[kind].values())], label="chain")
            if alone:
                without = [100 * clean[1], *(100 * value for value in alone[kind].values())]
                axes.plot(levels, without, label="classifier alone", linestyle="--")
            axes.set_title(kind.replace("_", " "), fontsize=9)
            axes.grid(True)
        figure.axes[0].legend(loc="lower left", fontsize=8)
        figure.supxlabel("noise level", color=INK)
        figure.supylabel("accuracy, %", color=INK)
        _save(figure, path)


def mistakes(stages: Sequence[Images], captions: Sequence[str], path: Path) -> None:
    """A gallery of misread digits, each with the stages it went through from top to bottom."""
    with matplotlib.rc_context(STYLE):
        columns = 8
        rows = -(-len(captions) // columns)
        figure = Figure(figsize=(1.05 * columns, (0.75 * len(stages) + 0.1) * rows), layout="constrained")
        grid = np.atleast_2d(figure.subplots(rows, columns)).flat
        for axes in grid:
            axes.axis("off")
        for index, axes in enumerate(figure.axes[: len(captions)]):
            tower = np.concatenate([pictures[index, ..., 0] for pictures in stages])
            axes.imshow(tower, cmap="gray", vmin=0, vmax=1)
            axes.set_title(captions[index], fontsize=8)
        _save(figure, path)


def pareto(points: Mapping[str, tuple[float, float]], front: set[str], path: Path) -> None:
    """Accuracy over cost (µs per image), the front joined by a line."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 3.4), layout="constrained")
        axes = figure.subplots()
        joined = sorted(points[name] for name in front)
        axes.plot(*zip(*joined, strict=True), color=COLOURS[0], linewidth=1)
        for index, (name, (cost_us, accuracy)) in enumerate(sorted(points.items(), key=lambda item: item[1])):
            axes.plot(cost_us, accuracy, "o", color=COLOURS[0 if name in front else 1])
            label_at = (5, -10) if index % 2 else (-5, 6)  # neighbours write below and above
            axes.annotate(name, (cost_us, accuracy), textcoords="offset points", xytext=label_at, fontsize=8)
        axes.set(xscale="log", xlabel="µs per image, one thread, batch 1", ylabel="accuracy at Gaussian 0.5, %")
        axes.set_xlim(right=2.5 * max(cost_us for cost_us, _ in points.values()))  # room for the last name
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.grid(True)
        _save(figure, path)


def _strip(pictures: Images) -> np.ndarray:
    """Pictures side by side with a narrow gap that is transparent."""
    gap = np.full((28, 2), np.nan)
    return np.concatenate([part for picture in pictures for part in (picture[..., 0], gap)][:-1], axis=1)


def _bare(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
