"""The pair that ships: a residual convolutional denoiser and a compact CNN, trained end to end on a wide world.

Figures: our own. Batches of 102 digits, 26 pictures that show none and 3 lines of digits; AdamW with warm-up and cosine
decay to zero, twice (a warm restart in the middle), running average of the weights, fresh noise at every step (see
NoiseMix), small warps on a third of the digits and wide ones on nearly half; the last epochs of each cycle show most
digits as people wrote them, for under heavy noise it matters how likely a shape is.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from training.batches import BatchMaker, NoiseMix
from training.calibration import calibrate
from training.chain import Chain
from training.classifier import build_classifier
from training.config import TrainingConfig
from training.data import Dataset
from training.denoiser import build_denoiser
from training.export import load_version
from training.fit import History
from training.joint import fit_jointly, validation_batch
from training.recipes import Outcome

PUBLISHED = "none; the targets are in training/README.md"
EPOCHS = 19
BATCH_SIZE = 128
WARMUP_EPOCHS = 0.5
WEIGHT_DECAY = 1e-3
AVERAGED_SHARE = 0.02  # of all steps: how far back the running average of the weights reaches


@dataclass(frozen=True, slots=True)
class Cycle:
    """One decay of the learning rate to zero."""

    share: float  # of the epochs
    peak_learning_rate: float
    warped: float  # of its epochs


CYCLES = (Cycle(10 / 19, 3e-3, 0.75), Cycle(9 / 19, 2e-3, 0.5))
CYCLES_OF_TRAINED = (Cycle(1.0, 2e-3, 0.5),)  # where the weights are those of a published version
CYCLES_OF_FEW = (Cycle(1.0, 4e-4, 0.0),)  # no time to recover from a high rate or from wide warps
FEW_EPOCHS = 4  # or less


def run(data: Dataset, config: TrainingConfig, workdir: Path) -> Outcome:
    chain, history = train_pair(data, config, workdir)
    return Outcome(history, denoiser=chain.denoiser, classifier=chain.classifier)


def train_pair(data: Dataset, config: TrainingConfig, workdir: Path) -> tuple[Chain, History]:
    """Train denoiser and classifier together and calibrate the classifier's confidence on the validation set."""
    keras.utils.set_random_seed(config.seed)
    mix = NoiseMix().without(config.hold_out) if config.hold_out else NoiseMix()
    batch_size = min(BATCH_SIZE, len(data.train), len(data.validation))
    validation = validation_batch(BatchMaker(data.validation, mix, batch_size, config.seed + 1, warped_epochs=0))
    chain = Chain(build_denoiser(), build_classifier())
    chain({name: array[:4] for name, array in validation.items()})  # builds the weights
    cycles: Sequence[Cycle] = CYCLES
    if config.start_from:
        cycles = CYCLES_OF_FEW if (config.epochs or EPOCHS) <= FEW_EPOCHS else CYCLES_OF_TRAINED
        for model in (chain.denoiser, chain.classifier):
            load_version(model, Path(config.models) / model.name / str(config.start_from))
    history: History = {}
    lengths = _lengths(cycles, config.epochs or EPOCHS)
    for number, (cycle, epochs) in enumerate(zip(cycles, lengths, strict=True)):
        if not epochs:
            continue
        maker = BatchMaker(
            data.train,
            mix,
            batch_size,
            config.seed + 2 * number,
            warped_epochs=cycle.warped * epochs,
            extra=data.extra.train if data.extra else None,
        )
        chain.compile(optimizer=_optimizer(cycle.peak_learning_rate, steps_per_epoch=maker.steps, epochs=epochs))
        trained = fit_jointly(chain, maker, validation, epochs=epochs, workdir=workdir / f"cycle-{number + 1}")
        history = {name: history.get(name, []) + values for name, values in trained.items()} or history
    (workdir / "history.json").write_text(json.dumps(history, indent=1) + "\n")
    calibrate(chain, data.validation, seed=config.seed)
    return chain, history


def _lengths(cycles: Sequence[Cycle], epochs: int) -> list[int]:
    """Whole epochs for each cycle, together `epochs`."""
    ends = [round(sum(cycle.share for cycle in cycles[:count]) * epochs) for count in range(len(cycles) + 1)]
    return [end - start for start, end in itertools.pairwise(ends)]


def _optimizer(peak_learning_rate: float, *, steps_per_epoch: int, epochs: int) -> keras.optimizers.Optimizer:
    warmup = max(1, round(min(WARMUP_EPOCHS, epochs / 4) * steps_per_epoch))
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=peak_learning_rate / 100,
        warmup_target=peak_learning_rate,
        warmup_steps=warmup,
        decay_steps=max(1, epochs * steps_per_epoch - warmup),
    )
    averaged_steps = max(2.0, AVERAGED_SHARE * epochs * steps_per_epoch)
    return keras.optimizers.AdamW(
        schedule, weight_decay=WEIGHT_DECAY, use_ema=True, ema_momentum=1 - 1 / averaged_steps
    )
