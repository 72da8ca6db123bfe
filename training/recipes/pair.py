"""Training of the pair that ships, of its other sizes and of their controls: on a wide world.

Figures: our own. Batches of 102 digits, 26 pictures that show none and 3 lines of digits; AdamW with warm-up and cosine
decay to zero, running average of the weights, fresh noise at every step (see NoiseMix), small warps on a third of the
digits and wide ones on nearly half; the last epochs show most digits as people wrote them, for under heavy noise it
matters how likely a shape is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from training.config import TrainingConfig
from training.data.batches import BatchMaker, NoiseMix
from training.data.dataset import Dataset
from training.errors import TrainingError
from training.fitting.calibration import calibrate
from training.fitting.joint import fit_jointly, validation_batch
from training.networks.chain import Chain, Direct, Teacher
from training.networks.classifier import build_classifier
from training.networks.denoiser import build_denoiser
from training.networks.direct import build_direct
from training.recipes import Outcome

EPOCHS = 19
WARMUP_EPOCHS = 0.5
WEIGHT_DECAY = 1e-3
AVERAGED_SHARE = 0.02  # of all steps: how far back the running average of the weights reaches


@dataclass(frozen=True, slots=True)
class Cycle:
    """One decay of the learning rate to zero."""

    peak_learning_rate: float
    warped: float  # of its epochs


CYCLE = Cycle(3e-3, 0.75)
CYCLE_OF_TRAINED = Cycle(2e-3, 0.5)  # where the weights are those of a published version
CYCLE_OF_FEW = Cycle(4e-4, 0.0)  # no time to recover from a high rate or from wide warps
FEW_EPOCHS = 4  # or less


Build = Callable[[Teacher | None], Direct]  # networks with new weights


@dataclass(frozen=True, slots=True)
class Size:
    """A recipe: the pair with more or less arithmetic, or a control of the same cost. Figures: our own."""

    build: Build
    PUBLISHED: str = "none: a size of our own, for the front"

    def run(self, data: Dataset, config: TrainingConfig, workdir: Path) -> Outcome:
        """As of every recipe."""
        return train_pair(self.build, data, config, workdir)


def train_pair(make: Build, data: Dataset, config: TrainingConfig, workdir: Path) -> Outcome:
    """Train what `make` answers and calibrate its confidence on the validation set."""
    keras.utils.set_random_seed(config.seed)
    mix = NoiseMix().without(config.hold_out) if config.hold_out else NoiseMix()
    batch_size = min(config.batch_size, len(data.train), len(data.validation))
    validation = validation_batch(BatchMaker(data.validation, mix, batch_size, config.seed + 1, warped_epochs=0))
    model = make(load_teacher(Path(config.teacher)) if config.teacher else None)
    model({name: array[:4] for name, array in validation.items()})  # builds the weights
    cycle, epochs = CYCLE, config.epochs or EPOCHS
    if config.start_from:
        from training.export.versions import load_version  # TensorFlow, which other backends do without

        cycle = CYCLE_OF_FEW if epochs <= FEW_EPOCHS else CYCLE_OF_TRAINED
        for network in model.networks:
            load_version(network, Path(config.models) / network.name / str(config.start_from))
    maker = BatchMaker(
        data.train,
        mix,
        batch_size,
        config.seed,
        warped_epochs=cycle.warped * epochs,
        extra=data.extra.train if data.extra else None,
    )
    model.compile(optimizer=_optimizer(cycle.peak_learning_rate, steps_per_epoch=maker.steps, epochs=epochs))
    history = fit_jointly(model, maker, validation, epochs=epochs, workdir=workdir)
    calibrate(model, data.validation, seed=config.seed)
    return Outcome(history, denoiser=model.denoiser if isinstance(model, Chain) else None, classifier=model.classifier)


def build(recipe: str) -> Direct:
    """The networks of a recipe of config.SIZES, with new weights."""
    return RECIPES[recipe].build(None)


def load_teacher(run: Path) -> Teacher:
    """The chain that another run made, from its folder; raises TrainingError when there is none."""
    try:
        recipe = json.loads((run / "config.json").read_text())["recipe"]
        weights = next(run.glob("final.weights.h5"))
    except (OSError, ValueError, KeyError, StopIteration) as exc:
        raise TrainingError(f"{run} holds no finished run that could teach: {exc}") from exc
    model = build(recipe) if recipe in RECIPES else None
    if not isinstance(model, Chain):
        raise TrainingError(f"{run} holds a run of {recipe}, which is no chain")
    blank = np.zeros((1, 28, 28, 1), np.float32)
    model({"noisy": blank, "clean": blank, "noisy_strips": blank})  # builds the weights
    model.load_weights(weights)
    return Teacher(model)


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


def _chain(denoiser: tuple[int, ...] = (), classifier: tuple[int, ...] = (16, 40, 40, 72)) -> Build:
    """A residual convolutional denoiser and a compact CNN, trained end to end, of these widths."""
    return lambda teacher: Chain(build_denoiser(*denoiser), build_classifier(classifier), teacher=teacher)


def _control(*widths: int) -> Build:
    """One network that reads the noisy pictures, no denoiser."""
    return lambda teacher: Direct(build_direct(*widths), teacher=teacher)


# Those of config.SIZES; the default is the pair that ships, the large one also the teacher of the smaller ones.
RECIPES: Mapping[str, Size] = {
    "small": Size(_chain((12, 22, 2, 8, 6), (10, 24, 24, 48))),  # 2.9 MFLOP a picture
    "direct-small": Size(_control(12, 16, 35, 56)),
    "default": Size(_chain(), "none; the targets are in training/README.md"),  # 8.9 MFLOP
    "direct": Size(_control(24, 28, 60, 96)),
    "large": Size(_chain((44, 60, 3, 28, 16), (32, 72, 72, 120))),  # 27 MFLOP
    "direct-large": Size(_control(40, 52, 108, 152)),
}
