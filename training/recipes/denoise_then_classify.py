"""Denoise, then classify: a dense autoencoder cleans, and the tutorial CNN learns to read what it leaves.

Figures: the published finding is a direction, not a number: reading denoised digits beats reading noisy ones. The same
classifier network is trained twice, on clean digits and on denoised ones, to say by how much and against what.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np

from services.core.metrics import accuracy
from services.core.noise import gaussian
from training.config import TrainingConfig
from training.data.dataset import Dataset, Digits
from training.fitting.fit import fit_classifier
from training.measure.measurements import noisy_test_images
from training.recipes import Outcome, cnn, dense_autoencoder

PUBLISHED = "denoised digits are read better than noisy ones"
EPOCHS = 5


def run(data: Dataset, config: TrainingConfig, workdir: Path) -> Outcome:
    denoiser, denoising = dense_autoencoder.train(data, config, workdir / "denoiser")
    rng = np.random.default_rng(config.seed + 1)

    def denoised(digits: Digits, noisy: np.ndarray | None = None) -> Digits:
        if noisy is None:
            noisy = gaussian(digits.images, dense_autoencoder.NOISE_FACTOR, rng)
        return Digits(denoiser.predict(noisy, batch_size=512, verbose=0), digits.labels)

    noisy_test = noisy_test_images(data.test.images, "gaussian", dense_autoencoder.NOISE_FACTOR)
    cleaned = Dataset(denoised(data.train), denoised(data.validation), denoised(data.test, noisy_test), data.sha256)

    epochs = config.epochs or EPOCHS
    on_clean, on_denoised = cnn.build(), cnn.build()
    reading_clean, _ = fit_classifier(on_clean, data, epochs=epochs, batch_size=60, workdir=workdir / "on-clean")
    history, _ = fit_classifier(on_denoised, cleaned, epochs=epochs, batch_size=60, workdir=workdir / "on-denoised")

    def reads(classifier: keras.Model, images: np.ndarray) -> float:
        return accuracy(data.test.labels, classifier.predict(images, batch_size=512, verbose=0).argmax(axis=1))

    figures = {
        "trained on clean, reads noisy": reads(on_clean, noisy_test),
        "trained on clean, reads denoised": reads(on_clean, cleaned.test.images),
        "trained on denoised, reads denoised": reads(on_denoised, cleaned.test.images),
    }
    figures["gain by denoising"] = (
        figures["trained on denoised, reads denoised"] - figures["trained on clean, reads noisy"]
    )
    seconds = [*denoising["seconds"], *reading_clean["seconds"], *history["seconds"]]  # all three trainings count
    return Outcome({**history, "seconds": seconds}, denoiser=denoiser, classifier=on_denoised, figures=figures)
