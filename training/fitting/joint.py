"""Train the chain on batches that other processes make: an epoch at a time, and resume after a kill."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import keras
import numpy as np

from training.data.batches import Batch, BatchMaker
from training.data.feed import Feed, keep_freed_memory
from training.fitting.fit import History
from training.networks.chain import Direct

log = logging.getLogger(__name__)

FORECAST_STEPS = (20, 120)  # timed between these, when tracing and the first caches are behind


def fit_jointly(chain: Direct, maker: BatchMaker, validation: Batch, *, epochs: int, workdir: Path) -> History:
    """Train, leave the running average of the weights in `chain`, and answer the history.

    Called again with the same `workdir`, a run that was killed goes on after its last whole epoch, and one that had
    ended only loads its weights.
    """
    keep_freed_memory()
    workdir.mkdir(parents=True, exist_ok=True)
    state, final, record = (workdir / name for name in ("state.weights.h5", "final.weights.h5", "history.json"))
    history: History = json.loads(record.read_text()) if record.exists() else {}
    chain.optimizer.build(chain.trainable_variables)
    if final.exists():
        chain.load_weights(final)
        return history
    done = len(history.get("loss", []))
    if done:
        chain.load_weights(state)
    started = time.monotonic()

    def keep(epoch: int, trained: Mapping[str, float]) -> None:
        nonlocal started
        figures = {**trained, **{f"val_{name}": value for name, value in _evaluate(chain, validation).items()}}
        figures["seconds"], started = time.monotonic() - started, time.monotonic()
        for name, value in figures.items():
            history.setdefault(name, []).append(float(value))
        partial = state.with_name("new.weights.h5")
        chain.save_weights(partial)
        partial.rename(state)
        record.write_text(json.dumps(history, indent=1) + "\n")
        shown = "  ".join(f"{name} {value:.4f}" for name, value in figures.items() if name != "seconds")
        log.info("epoch %d/%d  %s  %.0f s", epoch + 1, epochs, shown, figures["seconds"])

    if done < epochs:
        with Feed(maker, first_epoch=done, epochs=epochs) as feed:
            if keras.config.backend() == "tensorflow":
                for epoch in range(done, epochs):
                    keep(epoch, _epoch(chain, feed, steps_left=(epochs - epoch) * maker.steps, forecast=epoch == done))
            else:  # without a look at every step: on a GPU the next one is under way, and its batch on the way, by then
                chain.fit(
                    _copies(feed, epochs - done),
                    steps_per_epoch=maker.steps,
                    initial_epoch=done,
                    epochs=epochs,
                    verbose=0,
                    shuffle=False,
                    callbacks=[keras.callbacks.LambdaCallback(on_epoch_end=keep)],
                )
    chain.optimizer.finalize_variable_values(chain.trainable_variables)
    chain.save_weights(final)
    return history


def _epoch(chain: Direct, feed: Feed, *, steps_left: int, forecast: bool) -> dict[str, float]:
    chain.reset_metrics()
    figures: dict[str, float] = {}
    marks: list[float] = []
    for step, batch in enumerate(feed.epoch()):
        images, labels = _parts(batch)
        figures = dict(chain.train_on_batch(images, labels, return_dict=True))
        if forecast and step in FORECAST_STEPS:
            marks.append(time.monotonic())
            if len(marks) == len(FORECAST_STEPS):
                each_s = (marks[1] - marks[0]) / (FORECAST_STEPS[1] - FORECAST_STEPS[0])
                log.info("%.0f ms a step: about %.0f minutes to go", 1e3 * each_s, each_s * (steps_left - step) / 60)
    return figures


def _copies(feed: Feed, epochs: int) -> Iterator[tuple[Batch, np.ndarray]]:
    for _ in range(epochs):
        for batch in feed.epoch():
            yield _parts({name: array.copy() for name, array in batch.items()})


def _evaluate(chain: Direct, batch: Batch) -> dict[str, float]:
    images, labels = _parts(batch)
    chain.reset_metrics()
    return dict(chain.test_on_batch(images, labels, return_dict=True))


def _parts(batch: Batch) -> tuple[Batch, np.ndarray]:
    return {name: array for name, array in batch.items() if name != "labels"}, batch["labels"]


def validation_batch(maker: BatchMaker) -> Batch:
    """A few batches in one, of digits that training never sees."""
    batches = [maker.make(0, step) for step in range(min(8, maker.steps))]
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
