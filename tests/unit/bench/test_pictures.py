"""The page of pictures outside MNIST's frame, and what its photographs are made of."""

import cv2
import numpy as np
import pytest

from tests.bench.pictures import page
from tests.support.photographs import TALL_PX, drawn, photographed, printed, written


def test_a_set_below_its_target_is_said_to_be_missed():
    text = page([("photographs", 97.0, 98.94, 99.0), ("enlarged", 90.0, 97.0, 97.0)], 50)

    assert "| photographs | 97.00 % | 98.94 % | ≥ 99 % | **missed** |" in text
    assert "| enlarged | 90.00 % | 97.00 % | ≥ 97 % | met |" in text
    assert '--count 50"' in text


@pytest.mark.parametrize("make", [drawn, printed, lambda digit, rng: written(np.pad(np.eye(12), 8), rng)])
def test_ink_is_as_tall_as_asked_and_dark_on_its_photograph(make, rng):
    ink = make(4, rng)
    picture = cv2.imdecode(np.frombuffer(photographed(ink, rng), np.uint8), cv2.IMREAD_GRAYSCALE)

    assert TALL_PX[0] <= ink.shape[0] < TALL_PX[1] + 60  # a pen draws beyond the middle of its strokes
    assert 0 <= ink.min() < 0.1 < 0.9 < ink.max() <= 1
    assert picture is not None and min(picture.shape) > ink.shape[0]
    assert picture.min() < np.median(picture) - 20
