"""Every noise kind keeps the registry's promises; the ones with textbook statistics are measured against them."""

import numpy as np
import pytest

from services.core.noise import (
    NOISES,
    gaussian,
    low_contrast,
    motion_blur,
    occlusion,
    salt_and_pepper,
    shot,
    speckle,
    stripes,
)

KINDS = pytest.mark.parametrize("kind", NOISES)


@pytest.fixture
def strokes(rng):
    """White bars on black with soft edges: pictures with blacks, greys and whites."""
    pictures = np.zeros((64, 28, 28, 1), np.float32)
    for picture, left in zip(pictures, rng.integers(6, 18, 64), strict=True):
        picture[5:23, left : left + 4] = 1
        picture[5:23, left - 1] = 0.4
    return pictures


def flat(value, count=200):
    return np.full((count, 28, 28, 1), value, np.float32)


@KINDS
def test_noisy_pictures_are_float32_of_the_same_shape_in_range(kind, strokes, rng):
    for level in (0.0, 0.3, 1.0):
        noisy = NOISES[kind](strokes, level, rng)

        assert (noisy.dtype, noisy.shape) == (np.float32, strokes.shape)
        assert noisy.min() >= 0
        assert noisy.max() <= 1


@KINDS
def test_level_zero_changes_nothing(kind, strokes, rng):
    np.testing.assert_allclose(NOISES[kind](strokes, 0.0, rng), strokes, atol=1e-6)


@KINDS
def test_more_level_is_more_noise(kind, strokes, rng):
    errors = [np.square(NOISES[kind](strokes, level, rng) - strokes).mean() for level in (0.1, 0.5, 1.0)]

    assert 0 < errors[0] < errors[1] < errors[2]


@KINDS
def test_the_same_seed_gives_the_same_noise(kind, strokes):
    first, again = (NOISES[kind](strokes, 0.5, np.random.default_rng(3)) for _ in range(2))

    np.testing.assert_array_equal(first, again)


@KINDS
def test_the_clean_pictures_are_left_alone(kind, strokes, rng):
    before = strokes.copy()

    NOISES[kind](strokes, 0.7, rng)

    np.testing.assert_array_equal(strokes, before)


@KINDS
def test_each_image_can_have_a_level_of_its_own(kind, strokes, rng):
    levels = np.zeros(len(strokes), np.float32)
    levels[::2] = 1

    changed = np.abs(NOISES[kind](strokes, levels, rng) - strokes).max(axis=(1, 2, 3)) > 1e-4

    assert not changed[1::2].any()
    assert changed[::2].mean() > 0.5  # a square may fall beside the bar


@KINDS
@pytest.mark.parametrize("level", [-0.1, 1.1, float("nan")])
def test_a_level_outside_zero_to_one_is_refused(kind, level, strokes, rng):
    with pytest.raises(ValueError, match="from 0 to 1"):
        NOISES[kind](strokes, level, rng)


@KINDS
def test_levels_that_do_not_match_the_images_are_refused(kind, strokes, rng):
    with pytest.raises(ValueError, match="64 images"):
        NOISES[kind](strokes, np.full(3, 0.5), rng)


@KINDS
def test_an_empty_batch_stays_empty(kind, rng):
    assert NOISES[kind](np.empty((0, 28, 28, 1), np.float32), 0.5, rng).shape == (0, 28, 28, 1)


def test_gaussian_has_the_level_as_its_standard_deviation(rng):
    noisy = gaussian(flat(0.5), 0.1, rng)  # far enough from 0 and 1 for clipping not to matter

    assert noisy.mean() == pytest.approx(0.5, abs=0.002)
    assert noisy.std() == pytest.approx(0.1, rel=0.02)


def test_salt_and_pepper_replaces_half_the_level_evenly(rng):
    noisy = salt_and_pepper(flat(0.5), 0.6, rng)

    assert (noisy == 0).mean() == pytest.approx(0.15, abs=0.005)
    assert (noisy == 1).mean() == pytest.approx(0.15, abs=0.005)


def test_speckle_grows_with_brightness_and_spares_black(rng):
    assert speckle(flat(0.0), 1.0, rng).max() == 0
    assert speckle(flat(0.5), 0.2, rng).std() == pytest.approx(0.1, rel=0.02)


def test_shot_noise_has_poisson_variance(rng):
    noisy = shot(flat(0.5), 0.2, rng)  # 25 photons at white: variance = brightness / 25

    assert noisy.mean() == pytest.approx(0.5, abs=0.002)
    assert noisy.var() == pytest.approx(0.5 / 25, rel=0.05)


def test_motion_blur_keeps_the_light_of_a_digit_in_the_middle(strokes, rng):
    blurred = motion_blur(strokes, 0.4, rng)

    np.testing.assert_allclose(blurred.sum(axis=(1, 2)), strokes.sum(axis=(1, 2)), rtol=0.05)


def test_motion_blur_smears_a_point_over_its_length(rng):
    point = np.zeros((50, 28, 28, 1), np.float32)
    point[:, 14, 14] = 1

    reach = (motion_blur(point, 0.5, rng) > 0.05).sum(axis=(1, 2, 3))  # 7 px long, about one wide

    assert reach.min() >= 4
    assert reach.max() <= 16


def test_low_contrast_squeezes_the_range_around_grey(rng):
    noisy = low_contrast(np.concatenate([flat(0.0), flat(1.0)]), 0.5, rng)

    assert noisy[:200].mean() == pytest.approx(0.175, abs=0.01)
    assert noisy[200:].mean() == pytest.approx(0.825, abs=0.01)


def test_occlusion_hides_one_square_inside_the_picture(rng):
    hidden = occlusion(flat(1.0), 0.5, rng) == 0

    assert (hidden.sum(axis=(1, 2, 3)) == 64).all()
    assert (hidden.any(axis=1).sum(axis=(1, 2)) == 8).all()


def test_stripes_shift_whole_rows_or_whole_columns(rng):
    noisy = stripes(flat(0.5), 0.3, rng)
    even_along_rows = np.ptp(noisy, axis=2).max(axis=(1, 2)) == 0
    even_along_columns = np.ptp(noisy, axis=1).max(axis=(1, 2)) == 0

    assert (even_along_rows ^ even_along_columns).all()
    assert 0.35 < even_along_rows.mean() < 0.65
