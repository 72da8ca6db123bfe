"""The classic denoising autoencoder: 784-64-32-64-784, ReLU, sigmoid out, binary cross-entropy, Adam, 25 epochs.

Figures: a small sibling of the deep autoencoder in "Building Autoencoders in Keras" (F. Chollet, 2016), with that
post's noise_factor of 0.5. What was published is a picture: rows of noisy, denoised and clean digits.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import layers

from services.core.metrics import psnr, ssim
from services.core.noise import gaussian
from training.config import TrainingConfig
from training.data.dataset import Dataset
from training.fitting.fit import History, fit
from training.measure.measurements import noisy_test_images
from training.recipes import Outcome

PUBLISHED = "a picture: clean digits reconstructed from noise_factor 0.5"
NOISE_FACTOR = 0.5


def build() -> keras.Model:
    """Through a bottleneck of 32 numbers."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1), name="images"),
            layers.Flatten(),
            layers.Dense(64, activation="relu"),
            layers.Dense(32, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(784, activation="sigmoid"),
            layers.Reshape((28, 28, 1), name="denoised"),
        ],
        name="denoiser",
    )


def train(data: Dataset, config: TrainingConfig, workdir: Path) -> tuple[keras.Model, History]:
    """Train on one fixed draw of noise, as the classic does."""
    keras.utils.set_random_seed(config.seed)
    denoiser = build()
    denoiser.compile(optimizer="adam", loss="binary_crossentropy")
    rng = np.random.default_rng(config.seed)
    clean, held_back = data.train.images, data.validation.images
    history = fit(
        denoiser,
        gaussian(clean, NOISE_FACTOR, rng),
        clean,
        validation_data=(gaussian(held_back, NOISE_FACTOR, rng), held_back),
        epochs=config.epochs or 25,
        batch_size=256,
        workdir=workdir,
    )
    return denoiser, history


def run(data: Dataset, config: TrainingConfig, workdir: Path) -> Outcome:
    denoiser, history = train(data, config, workdir)
    clean = data.test.images
    noisy = noisy_test_images(clean, "gaussian", NOISE_FACTOR)
    denoised = denoiser.predict(noisy, batch_size=512, verbose=0)
    figures = {
        "PSNR noisy, dB": psnr(clean, noisy).mean(),
        "PSNR denoised, dB": psnr(clean, denoised).mean(),
        "SSIM denoised": ssim(clean, denoised).mean(),
    }
    return Outcome(history, denoiser=denoiser, figures={name: float(value) for name, value in figures.items()})
