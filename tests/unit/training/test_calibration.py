"""The temperature that undoes an overconfidence is found."""

import numpy as np
import pytest

from training.calibration import best_temperature


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.6])
def test_the_temperature_that_sharpened_the_scores_is_recovered(factor, rng):
    logits = rng.normal(0, 2, size=(20_000, 10))
    honest = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (honest.cumsum(axis=1) > rng.random((20_000, 1))).argmax(axis=1)
    stretched = np.exp(logits * factor)

    found = best_temperature(stretched / stretched.sum(axis=1, keepdims=True), labels)

    assert found == pytest.approx(factor, rel=0.03)


def test_certain_and_right_is_not_a_division_by_zero():
    assert np.isfinite(best_temperature(np.eye(10), np.arange(10)))
