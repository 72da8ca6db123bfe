"""Statistics against published values, SciPy and scikit-learn."""

import numpy as np
import pytest
from scipy import stats
from sklearn.calibration import calibration_curve

from services.core import metrics
from services.evaluator.measure import statistics


def test_wilson_equals_the_published_example():
    """Newcombe 1998, table I: 81 of 263, and 15 of 148."""
    interval = statistics.wilson(81, 263)

    assert (interval.low, interval.high) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert statistics.wilson(15, 148).low == pytest.approx(0.0624, abs=5e-5)


@pytest.mark.parametrize("correct", [0, 1, 50, 99, 100])
def test_wilson_stays_within_0_and_1_and_holds_the_estimate(correct):
    interval = statistics.wilson(correct, 100)

    assert 0 <= interval.low <= correct / 100 <= interval.high <= 1


def test_mcnemar_counts_disagreements_and_tests_them_exactly():
    first = np.array([1] * 50 + [1] * 12 + [0] * 3 + [0] * 5, dtype=bool)
    second = np.array([1] * 50 + [0] * 12 + [1] * 3 + [0] * 5, dtype=bool)

    result = statistics.mcnemar(first, second)

    assert (result.only_first, result.only_second) == (12, 3)
    assert result.p_value == pytest.approx(2 * stats.binom.cdf(3, 15, 0.5))


def test_mcnemar_of_equal_classifiers_is_certain_of_nothing():
    right = np.array([True, False, True])

    assert statistics.mcnemar(right, right) == statistics.McNemar(0, 0, 1.0)


def test_two_proportions_tells_a_real_difference_from_none():
    assert statistics.two_proportions(9700, 10000, 9500, 10000) < 1e-6
    assert statistics.two_proportions(9700, 10000, 9701, 10000) > 0.5
    assert statistics.two_proportions(10, 10, 20, 20) == 1.0


def test_adjusted_p_values_grow_with_the_number_of_comparisons():
    assert statistics.false_discovery_adjusted([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.04, 0.04])
    assert statistics.false_discovery_adjusted([]) == []


def test_calibration_bins_equal_scikit_learns(rng):
    scores = rng.dirichlet(np.full(10, 0.3), size=5000)
    labels = np.array([rng.choice(10, p=row) for row in scores])

    result = statistics.calibration(scores, labels)

    right = scores.argmax(axis=1) == labels
    accuracies, confidences = calibration_curve(right, scores.max(axis=1), n_bins=metrics.CALIBRATION_BINS)
    assert [each.accuracy for each in result.bins] == pytest.approx(accuracies.tolist())
    assert [each.confidence for each in result.bins] == pytest.approx(confidences.tolist())
    assert sum(each.count for each in result.bins) == 5000


def test_labels_drawn_from_the_probabilities_are_well_calibrated(rng):
    scores = rng.dirichlet(np.full(10, 0.3), size=20000)
    labels = np.array([rng.choice(10, p=row) for row in scores])

    assert statistics.calibration(scores, labels).ece < 0.015


def test_a_classifier_that_is_always_sure_and_half_right_has_an_ece_of_a_half():
    scores = np.zeros((100, 10))
    scores[:, 0] = 1
    labels = np.arange(100) % 2

    assert statistics.calibration(scores, labels).ece == pytest.approx(0.5)


def test_read_at_is_the_largest_share_within_the_error_allowed():
    right = np.array([True] * 8 + [False, True])
    sure = np.linspace(1, 0.1, 10)

    assert statistics.read_at(right, sure, 0.0) == 0.8
    assert statistics.read_at(right, sure, 0.1) == 1.0
    assert statistics.read_at(right, sure[::-1], 0.0) == 0.1


def test_answers_that_are_equally_sure_are_read_together_or_not_at_all():
    assert statistics.read_at(np.array([True, False]), np.array([0.9, 0.9]), 0.0) == 0.0


def test_the_error_of_the_surest_leaves_the_unsure_out():
    right = np.array([True, True, False, False])
    sure = np.array([0.9, 0.4, 0.8, 0.3])

    assert statistics.error_of(right, sure, 1.0) == 0.5
    assert statistics.error_of(right, sure, 0.5) == 0.5
    assert statistics.error_of(right, sure, 0.25) == 0.0
