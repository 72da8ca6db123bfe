"""The pair that ships: a residual convolutional denoiser and a compact CNN, trained end to end over all noise kinds.

Figures: our own. Batch 128, AdamW with warm-up and cosine decay to zero, running average of the weights, fresh noise at
every step (see NoiseMix), small affine warps on three quarters of the pictures; the last quarter of the epochs shows
digits as people wrote them, for under heavy noise it matters how likely a shape is.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from training.batches import FollowEpoch, NoiseMix, NoisyBatches
from training.calibration import calibrate
from training.chain import Chain
from training.classifier import build_classifier
from training.config import TrainingConfig
from training.data import Dataset
from training.denoiser import build_denoiser
from training.fit import History, fit
from training.recipes import Outcome

PUBLISHED = "none; the targets are in training/README.md"
EPOCHS = 24
BATCH_SIZE = 128
PEAK_LEARNING_RATE = 3e-3
WARMUP_EPOCHS = 1
WEIGHT_DECAY = 1e-3
AVERAGED_SHARE = 0.03  # of all steps: how far back the running average of the weights reaches
PATIENCE = 12
WARPED_EPOCHS = 0.75  # of all


def run(data: Dataset, config: TrainingConfig, workdir: Path) -> Outcome:
    chain, history = train_pair(data, config, workdir)
    return Outcome(history, denoiser=chain.denoiser, classifier=chain.classifier)


def train_pair(data: Dataset, config: TrainingConfig, workdir: Path) -> tuple[Chain, History]:
    """Train denoiser and classifier together and calibrate the classifier's confidence on the validation set."""
    keras.utils.set_random_seed(config.seed)
    mix = NoiseMix().without(config.hold_out) if config.hold_out else NoiseMix()
    epochs = config.epochs or EPOCHS
    batches = NoisyBatches(
        data.train,
        mix,
        batch_size=min(BATCH_SIZE, len(data.train)),
        seed=config.seed,
        warped_epochs=WARPED_EPOCHS * epochs,
    )
    validation = NoisyBatches(
        data.validation,
        mix,
        batch_size=min(500, len(data.validation)),
        seed=config.seed + 1,
        warped_epochs=0,
        shuffle=False,
    )

    chain = Chain(build_denoiser(), build_classifier())
    chain(dict.fromkeys(("noisy", "clean"), np.zeros((4, 28, 28, 1), np.float32)))  # builds the weights
    chain.compile(optimizer=_optimizer(steps_per_epoch=len(batches), epochs=epochs))
    history = fit(
        chain,
        batches,
        validation_data=validation,
        epochs=epochs,
        patience=PATIENCE,
        workdir=workdir,
        callbacks=[FollowEpoch(batches)],
    )
    calibrate(chain, data.validation, seed=config.seed)
    return chain, history


def _optimizer(*, steps_per_epoch: int, epochs: int) -> keras.optimizers.Optimizer:
    warmup = min(WARMUP_EPOCHS, epochs) * steps_per_epoch
    schedule = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=PEAK_LEARNING_RATE / 100,
        warmup_target=PEAK_LEARNING_RATE,
        warmup_steps=warmup,
        decay_steps=max(1, epochs * steps_per_epoch - warmup),
    )
    averaged_steps = max(2.0, AVERAGED_SHARE * epochs * steps_per_epoch)
    return keras.optimizers.AdamW(
        schedule, weight_decay=WEIGHT_DECAY, use_ema=True, ema_momentum=1 - 1 / averaged_steps
    )
