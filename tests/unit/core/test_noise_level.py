"""The estimate of noise, and which pictures can do without the denoiser."""

import numpy as np
import pytest

from services.core import noise
from services.core.noise_level import QUIET, estimate, worth_denoising
from services.core.preprocessing import to_digit
from tests.support.drawings import on_canvas


@pytest.fixture(scope="module")
def clean() -> np.ndarray:
    """Ten digits, as drawings reach the models."""
    return np.stack([to_digit(on_canvas(digit)) for digit in range(10)])


@pytest.mark.parametrize("sigma", [0.05, 0.1, 0.2])
def test_the_estimate_is_the_standard_deviation_of_what_was_added(sigma, rng):
    grey = np.full((50, 28, 28, 1), 0.5, np.float32)

    levels = estimate(grey + rng.normal(0, sigma, grey.shape).astype(np.float32))

    assert levels.shape == (50,)
    assert levels.mean() == pytest.approx(sigma, rel=0.03)
    assert levels.std() < 0.1 * sigma


def test_a_smooth_slope_has_no_noise():
    slope = np.broadcast_to(np.linspace(0, 1, 28, dtype=np.float32)[None, :, None, None], (1, 28, 28, 1))

    assert estimate(slope)[0] == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("kind", ["gaussian", "salt_and_pepper", "low_contrast"])
def test_more_noise_gives_higher_estimates(kind, clean):
    levels = [
        estimate(noise.NOISES[kind](clean, level, np.random.default_rng(1))).mean() for level in (0, 0.1, 0.25, 0.5, 1)
    ]

    assert levels == sorted(levels)


def test_one_picture_and_a_batch_agree(clean):
    np.testing.assert_allclose(np.concatenate([estimate(image[None]) for image in clean]), estimate(clean))
    one_by_one = [worth_denoising(image[None], estimate(image[None]))[0] for image in clean]
    assert one_by_one == worth_denoising(clean, estimate(clean)).tolist()


def test_clean_drawings_can_do_without(clean):
    levels = estimate(clean)

    assert levels.max() <= QUIET
    assert not worth_denoising(clean, levels).any()


@pytest.mark.parametrize("kind", ["gaussian", "salt_and_pepper", "low_contrast", "stripes"])
@pytest.mark.parametrize("level", [0.25, 0.5, 1.0])
def test_noise_is_worth_it(kind, level, clean, rng):
    noisy = noise.NOISES[kind](np.repeat(clean, 20, axis=0), level, rng)

    assert worth_denoising(noisy, estimate(noisy)).mean() > 0.99


@pytest.mark.parametrize("kind", ["motion_blur", "occlusion"])
def test_so_is_harm_that_is_no_noise(kind, clean, rng):
    """Its estimate is as low as that of clean pictures: the ink's extent and centre give it away."""
    harmed = noise.NOISES[kind](np.repeat(clean, 20, axis=0), 1.0, rng)

    assert np.median(estimate(harmed)) <= QUIET
    assert worth_denoising(harmed, estimate(harmed)).mean() > 0.95


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_an_empty_picture_is_answered(grey):
    empty = np.full((2, 28, 28, 1), grey, np.float32)

    assert worth_denoising(empty, estimate(empty)).tolist() == [True, True]


@pytest.mark.parametrize("cut_px", [0, 1, 2])
@pytest.mark.parametrize("turns", range(4), ids=["left", "top", "right", "bottom"])
def test_a_clean_digit_at_an_edge_of_the_picture_is_left_alone(turns, cut_px, clean):
    """Denoised, digits moved by 5 pixels were read 0.9 points worse than as they were.

    The thin 1 is not, as it has no more ink than a half hidden digit, nor are 7 and 9, whose stems are at the edge
    when the centre of their ink is still near the middle.
    """
    first = (np.rot90(clean, -turns, (1, 2)).sum(axis=(1, 3)) > 0.1).argmax(axis=1)
    towards_left = [
        np.pad(picture[:, column + cut_px :], ((0, 0), (0, column + cut_px), (0, 0)))
        for picture, column in zip(np.rot90(clean, -turns, (1, 2)), first, strict=True)
    ]
    moved = np.rot90(np.stack(towards_left), turns, (1, 2))

    assert set(np.flatnonzero(worth_denoising(moved, estimate(moved)))) <= {1, 7, 9}


@pytest.mark.parametrize("kind", ["haze", "bright_stripes", "scribble", "spatter", "brightness"])
def test_what_is_drawn_over_or_lit_otherwise_is_worth_it(kind, clean, rng):
    harmed = noise.NOISES[kind](np.repeat(clean, 20, axis=0), 0.5, rng)

    assert worth_denoising(harmed, estimate(harmed)).mean() > 0.97
