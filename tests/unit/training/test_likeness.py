"""The SSIM that training follows is the SSIM that results report."""

import keras
import numpy as np
import pytest

from services.core.metrics import ssim
from services.core.noise import gaussian
from training.likeness import structural_similarity


@pytest.fixture
def pictures() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    clean = (rng.random((5, 28, 28, 1)) > 0.7).astype(np.float32)
    return clean, gaussian(clean, 0.3, rng)


def test_equals_the_measure(pictures):
    assert keras.ops.convert_to_numpy(structural_similarity(*pictures)) == pytest.approx(ssim(*pictures), abs=1e-4)


def test_equal_pictures_are_wholly_alike(pictures):
    clean, _ = pictures
    assert keras.ops.convert_to_numpy(structural_similarity(clean, clean)) == pytest.approx(np.ones(5), abs=1e-5)
