"""Fit any Keras model the way every recipe does: progress, early stopping, TensorBoard, and resume after a kill."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from training.data.dataset import Dataset
from training.fitting.progress import EpochProgress

History = dict[str, list[float]]


def fit(
    model: keras.Model,
    x: Any,
    y: Any = None,
    *,
    validation_data: Any,
    epochs: int,
    workdir: Path,
    batch_size: int | None = None,
    patience: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> History:
    """Train, leave the weights of the epoch with the lowest validation loss in `model`, and answer the history.

    Called again with the same `workdir`, a run that was killed goes on at the epoch it was in, and one that had ended
    only loads its weights.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    best, finished = workdir / "best.weights.h5", workdir / "finished"
    history = EpochHistory(workdir / "history.json")
    if not finished.exists():
        # Order matters. The backup holds the raw weights beside their running average; what judges an epoch and keeps
        # the best comes after the swap and sees the average.
        averaging = [keras.callbacks.SwapEMAWeights(swap_on_epoch=True)] if model.optimizer.use_ema else []
        model.fit(
            x,
            y,
            batch_size=batch_size,
            epochs=epochs,
            validation_data=validation_data,
            verbose=0,
            callbacks=[
                *callbacks,
                history,
                keras.callbacks.BackupAndRestore(str(workdir / "backup"), double_checkpoint=True),
                *averaging,
                keras.callbacks.ModelCheckpoint(
                    str(best),
                    save_best_only=True,
                    save_weights_only=True,
                    initial_value_threshold=min(history.values.get("val_loss", []), default=None),
                ),
                keras.callbacks.EarlyStopping(patience=patience or epochs),
                keras.callbacks.TensorBoard(str(workdir / "tensorboard")),
                EpochProgress(),
            ],
        )
        finished.touch()
    model.optimizer.build(model.trainable_variables)  # the file holds its state too
    model.load_weights(best)
    return history.values


def fit_classifier(
    classifier: keras.Model, data: Dataset, *, epochs: int, batch_size: int, workdir: Path
) -> tuple[History, dict[str, float]]:
    """Train a classifier on clean digits with Adam and cross-entropy; answer history and test loss and accuracy."""
    classifier.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    history = fit(
        classifier,
        data.train.images,
        data.train.labels,
        validation_data=(data.validation.images, data.validation.labels),
        epochs=epochs,
        batch_size=batch_size,
        workdir=workdir,
    )
    loss, accuracy = classifier.evaluate(data.test.images, data.test.labels, batch_size=512, verbose=0)
    return history, {"test accuracy": float(accuracy), "test loss": float(loss)}


class EpochHistory(keras.callbacks.Callback):
    """Keeps every epoch's figures in a JSON file; a resumed run adds to them."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.started = 0.0
        self.values: History = json.loads(path.read_text()) if path.exists() else {}

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self.values = {name: values[:epoch] for name, values in self.values.items()}
        self.started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        for name, value in {**(logs or {}), "seconds": time.monotonic() - self.started}.items():
            self.values.setdefault(name, []).append(float(value))
        self.path.write_text(json.dumps(self.values, indent=1) + "\n")
