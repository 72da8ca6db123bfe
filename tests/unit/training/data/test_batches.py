"""Fresh noise at every step, and yet a batch follows from seed, epoch and step alone."""

import numpy as np
import pytest

from services.core.noise import NOISES
from tests.support.digits import synthetic_mnist
from training.data.augment import warp
from training.data.batches import NO_DIGIT, BatchMaker, NoiseMix
from training.data.dataset import split
from training.data.feed import SLOTS, Feed
from training.data.glyphs import DIGITS, LETTERS, glyphs
from training.data.outliers import OUTLIERS, letters_in_test_fonts, outliers


@pytest.fixture(scope="module")
def digits():
    return split(synthetic_mnist(train=320, test=10), validation=10, seed=0).train


def maker(digits, **options):
    return BatchMaker(digits, NoiseMix(), batch_size=40, seed=5, **options)


def test_the_same_seed_epoch_and_step_give_the_same_batch(digits):
    first, again = maker(digits).make(0, 3), maker(digits).make(0, 3)

    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])


def test_another_epoch_brings_other_noise_and_another_order(digits):
    early, late = maker(digits).make(0, 0), maker(digits).make(7, 0)

    assert not np.array_equal(early["labels"], late["labels"])
    assert not np.array_equal(early["noisy"], late["noisy"])


def test_a_batch_holds_digits_then_outliers_then_strips(digits):
    batch = maker(digits).make(0, 0)

    assert batch["noisy"].shape == batch["clean"].shape == (40, 28, 28, 1)
    assert (batch["labels"][:32] >= 0).all()
    assert (batch["labels"][32:] == NO_DIGIT).all()
    assert (batch["has_clean"] == np.ones(40)).all()
    assert batch["noisy_strips"].shape == batch["clean_strips"].shape == (2, 28, 112, 1)
    for name, array in batch.items():
        whole = name in ("labels", "strip_labels", "strip_lefts")
        assert array.dtype == (np.int32 if whole else np.float32)
        if not whole and name != "has_clean":
            assert 0 <= array.min() < array.max() <= 1


def test_an_epoch_shows_every_written_digit_at_most_once(digits):
    shown = maker(digits, warped_epochs=0)
    labels = np.concatenate([shown.make(0, step)["labels"][:32] for step in range(shown.steps)])

    assert shown.steps == len(digits) // 32 == 9
    assert np.bincount(labels, minlength=10).max() <= np.bincount(digits.labels, minlength=10).max() + 20  # printed


def test_the_last_epochs_show_more_digits_as_they_were_written(digits):
    shown = maker(digits, warped_epochs=2)
    originals = {image.tobytes() for image in digits.images}

    def originals_in(epoch):
        return sum(image.tobytes() in originals for step in range(9) for image in shown.make(epoch, step)["clean"][:32])

    assert 20 < originals_in(1) < 100
    assert 130 < originals_in(2) < 230


@pytest.mark.parametrize("makers", [1, 2])
def test_batches_made_ahead_are_the_very_same(digits, makers):
    shown = maker(digits)
    with Feed(shown, first_epoch=1, epochs=3, makers=makers) as feed:
        for epoch in (1, 2):
            for step, batch in enumerate(feed.epoch()):
                expected = shown.make(epoch, step)
                for name, array in batch.items():
                    np.testing.assert_array_equal(array, expected[name])
            assert step + 1 == shown.steps > SLOTS


def test_the_mix_holds_every_kind_and_some_clean_pictures():
    mix = NoiseMix()

    assert set(mix.shares) == set(NOISES)
    assert 0 < 1 - sum(mix.shares.values()) < 0.2


def test_clean_pictures_come_through_in_their_share(digits, rng):
    noisy = NoiseMix({"gaussian": 0.75}).apply(digits.images, rng)
    untouched = np.isclose(noisy, digits.images).all(axis=(1, 2, 3)).mean()

    assert untouched == pytest.approx(0.25, abs=0.08)


def test_a_kind_held_out_is_gone_and_the_clean_share_stays():
    full, held_out = NoiseMix(), NoiseMix().without("stripes")

    assert "stripes" not in held_out.shares
    assert sum(held_out.shares.values()) == pytest.approx(sum(full.shares.values()))


@pytest.mark.parametrize(("small", "wide"), [(1.0, 0.0), (0.0, 1.0)])
def test_warps_keep_shape_range_and_most_of_the_ink(small, wide, digits, rng):
    warped = warp(digits.images, rng, small=small, wide=wide)

    assert (warped.shape, warped.dtype) == (digits.images.shape, np.float32)
    assert warped.min() >= 0
    assert warped.max() <= 1.0001
    ink = warped.sum(axis=(1, 2, 3)) / digits.images.sum(axis=(1, 2, 3))
    assert ink.mean() == pytest.approx(1, abs=0.15)
    assert ink.min() > 0.36 * 0.35  # the smallest scale and the thinnest pen
    assert np.abs(warped - digits.images).max(axis=(1, 2, 3)).min() > 0.05


def test_wide_warps_move_digits_by_up_to_six_pixels(digits, rng):
    def centres(images):
        weights = images[..., 0] / images.sum(axis=(1, 2, 3))[:, None, None]
        return (weights * np.arange(28)).sum(axis=(1, 2))

    moved = np.abs(centres(warp(digits.images, rng, small=0, wide=1)) - centres(digits.images))

    assert 4 < np.quantile(moved, 0.97) < 8


def test_without_a_share_nothing_is_warped(digits, rng):
    np.testing.assert_array_equal(warp(digits.images, rng, small=0), digits.images)


@pytest.mark.parametrize("kind", OUTLIERS)
def test_outliers_are_pictures_like_the_digits(kind, digits, rng):
    make, _ = OUTLIERS[kind]
    pictures = make(digits, 30, rng)

    assert (pictures.shape, pictures.dtype) == ((30, 28, 28, 1), np.float32)
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    if kind != "blank":
        assert len(np.unique(pictures.reshape(30, -1), axis=0)) == 30


def test_the_shares_of_outliers_add_up_and_their_number_is_as_asked(digits, rng):
    assert sum(share for _, share in OUTLIERS.values()) == pytest.approx(1)
    assert outliers(digits, 77, rng).shape == (77, 28, 28, 1)


def test_letters_of_test_fonts_are_never_trained_on(digits, rng):
    trained, kept = glyphs(LETTERS, test=False), glyphs(LETTERS, test=True)

    assert len(trained.images) + len(kept.images) == len(glyphs(LETTERS).images)
    assert not {image.tobytes() for image in trained.images} & {image.tobytes() for image in kept.images}
    assert letters_in_test_fonts(digits, 5, rng).shape == (5, 28, 28, 1)


def test_printed_digits_come_in_every_font():
    found = glyphs(DIGITS)

    assert np.bincount(found.characters.astype(int)).tolist() == [18] * 10
    assert (found.images.max(axis=(1, 2, 3)) > 0.5).all()
