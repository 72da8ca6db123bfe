"""Metrics against figures worked out by hand, and against the definitions' edge cases."""

import numpy as np
import pytest

from services.core import metrics


def test_accuracy_is_the_share_read_right():
    assert metrics.accuracy([1, 2, 3, 4], [1, 2, 0, 4]) == 0.75


def test_confusion_matrix_has_a_row_per_label_and_a_column_per_digit_read():
    matrix = metrics.confusion_matrix([0, 0, 9, 3], [0, 8, 9, 9])

    assert matrix.shape == (10, 10)
    assert matrix.sum() == 4
    assert (matrix[0, 0], matrix[0, 8], matrix[9, 9], matrix[3, 9]) == (1, 1, 1, 1)


def test_calibration_error_is_zero_when_confidence_is_earned():
    scores = np.tile([[0.75, 0.25]], (4, 1))

    assert metrics.expected_calibration_error([0, 0, 0, 1], scores) == pytest.approx(0)


def test_calibration_error_is_the_gap_when_confidence_is_not_earned():
    scores = np.tile([[1.0, 0.0]], (4, 1))

    assert metrics.expected_calibration_error([0, 0, 1, 1], scores) == pytest.approx(0.5)


def test_calibration_gaps_of_different_bins_do_not_cancel():
    scores = np.array([[0.95, 0.05], [0.55, 0.45]])  # the sure one is wrong, the unsure one right

    assert metrics.expected_calibration_error([1, 0], scores) == pytest.approx((0.95 + 0.45) / 2)


def test_psnr_of_a_known_error():
    clean = np.zeros((2, 28, 28, 1), np.float32)

    assert metrics.psnr(clean, clean + np.float32(0.1)) == pytest.approx([20, 20])


def test_psnr_of_equal_pictures_is_infinite():
    clean = np.zeros((1, 28, 28, 1), np.float32)

    assert np.isposinf(metrics.psnr(clean, clean)).all()


def test_ssim_is_one_for_equal_pictures_and_falls_with_noise(rng):
    clean = rng.random((3, 28, 28, 1), dtype=np.float32)
    slightly, strongly = (np.clip(clean + s * rng.standard_normal(clean.shape), 0, 1) for s in (0.1, 0.5))

    assert metrics.ssim(clean, clean) == pytest.approx([1, 1, 1])
    assert (metrics.ssim(clean, slightly) > metrics.ssim(clean, strongly)).all()


def test_ssim_of_flat_pictures_follows_the_luminance_term():
    black, grey = np.zeros((1, 28, 28, 1), np.float32), np.full((1, 28, 28, 1), 0.5, np.float32)

    assert metrics.ssim(black, grey) == pytest.approx([0.01**2 / (0.25 + 0.01**2)])


def test_percentiles_are_named_after_their_points():
    assert metrics.percentiles(range(101)) == pytest.approx({"p50": 50, "p90": 90, "p95": 95, "p99": 99, "p99.9": 99.9})


def test_percentiles_of_nothing_are_nothing():
    assert metrics.percentiles([]) == {}
