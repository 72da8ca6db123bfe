"""What training shows: a bar with loss, accuracy and time left on a terminal, and a line per epoch anywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

Logs = Mapping[str, Any] | None


class EpochProgress(keras.callbacks.Callback):
    """Keras callback; writes to stderr, because stdout is for results."""

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self.console = console or Console(stderr=True)
        self.bar: Progress | None = None
        self.task: TaskID | None = None
        self.epoch_started = 0.0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch_started = time.monotonic()
        if not self.console.is_terminal:
            return
        self.bar = Progress(
            TextColumn(f"epoch {epoch + 1}/{self.params['epochs']}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.task = self.bar.add_task("steps", total=self.params["steps"], figures="")
        self.bar.start()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        if self.bar is not None and self.task is not None:
            self.bar.update(self.task, completed=batch + 1, figures=_figures(logs, ("loss", "accuracy")))

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
        seconds = time.monotonic() - self.epoch_started
        left_min = seconds * (self.params["epochs"] - epoch - 1) / 60
        figures = _figures(logs, ("loss", "accuracy", "val_loss", "val_accuracy"))
        self.console.print(
            f"epoch {epoch + 1}/{self.params['epochs']}  {figures}  {seconds:.0f} s, at most {left_min:.0f} min left",
            highlight=False,
            soft_wrap=True,
        )


def _figures(logs: Logs, names: tuple[str, ...]) -> str:
    return "  ".join(f"{name} {float(logs[name]):.4f}" for name in names if logs and name in logs)
