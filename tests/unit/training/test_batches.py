"""Fresh noise at every step, and yet a batch follows from seed, epoch and step alone."""

import numpy as np
import pytest

from services.core.noise import NOISES
from tests.support.digits import synthetic_mnist
from training.augment import warp
from training.batches import FollowEpoch, NoiseMix, NoisyBatches
from training.data import split


@pytest.fixture(scope="module")
def digits():
    return split(synthetic_mnist(train=320, test=10), validation=10, seed=0).train


def batches(digits, **options):
    return NoisyBatches(digits, NoiseMix(), batch_size=32, seed=5, **options)


def test_the_same_seed_epoch_and_step_give_the_same_batch(digits):
    (first, labels), (again, labels_again) = batches(digits)[3], batches(digits)[3]

    np.testing.assert_array_equal(first["noisy"], again["noisy"])
    np.testing.assert_array_equal(first["clean"], again["clean"])
    np.testing.assert_array_equal(labels, labels_again)


def test_another_epoch_brings_other_noise_and_another_order(digits):
    early, late = batches(digits), batches(digits)
    FollowEpoch(late).on_epoch_begin(7)

    assert not np.array_equal(early[0][1], late[0][1])
    assert not np.array_equal(early[0][0]["noisy"], late[0][0]["noisy"])


def test_an_epoch_shows_every_picture_at_most_once(digits):
    shown = batches(digits, warped_epochs=0)
    pictures = np.concatenate([shown[step][0]["clean"] for step in range(len(shown))])

    assert len(pictures) == len(shown) * 32 == 288
    assert (
        len(np.unique(pictures.reshape(288, -1), axis=0)) == len(np.unique(digits.images.reshape(310, -1), axis=0)) - 22
    )


def test_the_last_epochs_show_digits_as_they_were_written(digits):
    shown = batches(digits, warped_epochs=2)
    originals = {image.tobytes() for image in digits.images}

    def originals_in(epoch):
        FollowEpoch(shown).on_epoch_begin(epoch)
        return sum(image.tobytes() in originals for image in shown[0][0]["clean"])

    assert originals_in(1) < 16
    assert originals_in(2) == originals_in(3) == 32


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


def test_warps_keep_shape_range_and_most_of_the_ink(digits, rng):
    warped = warp(digits.images, rng)

    assert (warped.shape, warped.dtype) == (digits.images.shape, np.float32)
    assert warped.min() >= 0
    assert warped.max() <= 1.0001
    ink = warped.sum(axis=(1, 2, 3)) / digits.images.sum(axis=(1, 2, 3))
    assert ink.mean() == pytest.approx(1, abs=0.1)
    assert np.abs(warped - digits.images).max(axis=(1, 2, 3)).min() > 0.1


def test_without_a_share_nothing_is_warped(digits, rng):
    np.testing.assert_allclose(warp(digits.images, rng, share=0), digits.images, atol=1e-6)
