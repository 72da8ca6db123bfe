"""Measuring a chain of stand-ins, whose results are known beforehand."""

import numpy as np
import pytest
import tensorflow as tf

from services.core.metrics import ssim
from services.core.noise import NOISES
from tests.support.digits import synthetic_mnist
from training.data.dataset import split
from training.measure.measurements import DRAWS, measure, measure_headline, noisy_test_images


@pytest.fixture(scope="module")
def test_set():
    return split(synthetic_mnist(train=20, test=100), validation=5, seed=0).test


def sure_of(digits):
    return lambda images: np.eye(10, dtype=np.float32)[digits[: len(images)]]


def test_a_perfect_reader_is_right_about_everything(test_set):
    measured = measure(lambda images: test_set.images, sure_of(test_set.labels), test_set)

    assert measured.clean == measured.robust_mean == measured.worst_kind[1] == 1
    assert measured.ece == 0
    assert np.trace(measured.confusion) == 100
    assert measured.psnr_db["0.5"] == np.inf
    assert measured.ssim["1.0"] == pytest.approx(1)


def test_a_reader_of_one_digit_is_right_as_often_as_it_occurs(test_set):
    zeros = np.zeros(100, int)
    measured = measure(None, sure_of(zeros), test_set)

    assert measured.clean == (test_set.labels == 0).mean()
    assert measured.ece == pytest.approx(1 - measured.clean)
    assert measured.alone == measured.chain


def test_the_chain_is_told_from_the_classifier_alone(test_set):
    def reads_only_what_was_cleaned(images):
        cleaned = images is test_set.images
        return sure_of(test_set.labels if cleaned else (test_set.labels + 1) % 10)(images)

    measured = measure(lambda images: test_set.images, reads_only_what_was_cleaned, test_set)

    assert measured.chain["stripes"]["0.5"] == 1
    assert measured.alone["stripes"]["0.5"] == 0


def test_the_gate_looks_at_the_same_figures_as_the_report(test_set):
    def brightness(images):
        return np.eye(10)[(images.mean(axis=(1, 2, 3)) * 20).astype(int) % 10]

    assert measure_headline(None, brightness, test_set) == measure(None, brightness, test_set).headline


def test_gaussian_figures_are_means_over_several_draws(test_set):
    draws = [noisy_test_images(test_set.images, "gaussian", 0.5, draw=draw) for draw in range(DRAWS)]
    seen = []

    def is_the_second_draw(images):
        seen.extend(index for index, noisy in enumerate(draws) if np.array_equal(images, noisy))
        return sure_of(test_set.labels if np.array_equal(images, draws[1]) else (test_set.labels + 1) % 10)(images)

    measured = measure(None, is_the_second_draw, test_set)

    assert sorted(seen) == list(range(DRAWS))
    assert measured.chain["gaussian"]["0.5"] == pytest.approx(1 / DRAWS)


@pytest.mark.parametrize("kind", NOISES)
def test_the_noise_of_a_measurement_is_always_the_same(kind, test_set):
    first, again = (noisy_test_images(test_set.images, kind, 0.5) for _ in range(2))

    np.testing.assert_array_equal(first, again)


def test_ssim_is_the_one_tensorflow_computes(test_set):
    noisy = noisy_test_images(test_set.images, "gaussian", 0.25)

    expected = tf.image.ssim(test_set.images, noisy, max_val=1.0)

    np.testing.assert_allclose(ssim(test_set.images, noisy), expected, atol=1e-4)
