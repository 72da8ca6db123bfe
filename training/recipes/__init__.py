"""One file per recipe of a tutorial: the network, how it is trained, where its figures come from, what was published.

The sizes of the pair and their controls differ by widths alone: they are in training/recipes/pair.py.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import keras

from training.config import SIZES, TrainingConfig
from training.data.dataset import Dataset
from training.fitting.fit import History, fit_classifier


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a recipe made. `figures` are its own results, named for the table they end in."""

    history: History
    denoiser: keras.Model | None = None
    classifier: keras.Model | None = None
    figures: Mapping[str, float] = field(default_factory=dict)


class Recipe(Protocol):
    """A module of this package, or a size of the pair."""

    @property
    def PUBLISHED(self) -> str:
        """Figures of others, to compare with."""
        ...

    def run(self, data: Dataset, config: TrainingConfig, workdir: Path) -> Outcome:
        """Train on `data.train`, choose by `data.validation`, and only report on `data.test`."""
        ...


def train_classifier(
    build: Callable[[], keras.Model], data: Dataset, config: TrainingConfig, workdir: Path, *, epochs: int, batch: int
) -> Outcome:
    """A classifier on clean digits, as most tutorials have it; `epochs` unless the run was told how many."""
    keras.utils.set_random_seed(config.seed)
    classifier = build()
    history, figures = fit_classifier(
        classifier, data, epochs=config.epochs or epochs, batch_size=batch, workdir=workdir
    )
    return Outcome(history, classifier=classifier, figures=figures)


def find(name: str) -> Recipe:
    """The recipe of that name, imported only now."""
    if name in SIZES:
        from training.recipes.pair import RECIPES

        return RECIPES[name]
    return importlib.import_module(f"{__name__}.{name.replace('-', '_')}")
