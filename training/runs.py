"""A run's folder, and the training in it. No TensorFlow: recipes train on any backend of Keras."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras

from training.config import TrainingConfig
from training.data.dataset import Dataset
from training.errors import TrainingError
from training.recipes import Outcome, find


def train(config: TrainingConfig, data: Dataset, workdir: Path) -> Outcome:
    """Run the recipe; with a `workdir` that an interrupted run left behind, go on from there."""
    _open_run(workdir, config, data)
    with writing(workdir):
        return find(config.recipe).run(data, config, workdir)


def backend() -> str:
    """What Keras computes with: KERAS_BACKEND."""
    return str(keras.config.backend())


def _open_run(workdir: Path, config: TrainingConfig, data: Dataset) -> None:
    """Make the run folder, or check that what is in it was started with the same settings."""
    path = workdir / "config.json"
    settings = config.as_dict() | ({"extra_sha256": data.extra.sha256} if data.extra else {})
    with writing(workdir):
        workdir.mkdir(parents=True, exist_ok=True)
        if path.exists():
            found = TrainingConfig().as_dict() | json.loads(path.read_text())  # a run may be older than a setting
            begun = any(other != path for other in workdir.iterdir())  # not so where a setting was wrong
            if found != settings and begun:
                difference = _difference(found, settings)
                raise TrainingError(f"{workdir} holds another run, {difference}; remove it or choose another --run-dir")
        path.write_text(json.dumps(settings, indent=2) + "\n")


def _difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {found.get(key)} not {value}" for key, value in wanted.items() if found.get(key) != value)


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Name the folder where it cannot be written."""
    try:
        yield
    except OSError as exc:
        raise TrainingError(f"cannot write into the run folder {folder}: {exc}") from exc
