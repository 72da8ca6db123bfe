"""The temperature that undoes an overconfidence is found."""

import numpy as np
import pytest

from training.fitting.calibration import best_scaling, best_temperature


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


def test_the_scaling_that_distorted_a_judgement_is_undone(rng):
    """Logits of two normal sets 4 apart, standard deviation 2, are the log-odds themselves."""
    digits, none = rng.normal(2, 2, 20_000), rng.normal(-2, 2, 20_000)

    def judged(logits):
        return 1 / (1 + np.exp(-(3 * logits + 1)))

    gain, offset = best_scaling(judged(digits), judged(none))

    assert gain == pytest.approx(1 / 3, rel=0.05)
    assert offset == pytest.approx(-1 / 3, abs=0.05)
