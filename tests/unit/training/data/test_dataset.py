"""MNIST is found, proven and split; all that can be wrong with it is one clear message and exit status 2."""

from pathlib import Path

import numpy as np
import pytest

from tests.support.digits import synthetic_mnist
from training.__main__ import main
from training.data.dataset import load_mnist, mnist_path, read_arrays, split
from training.errors import DataError


@pytest.fixture
def arrays():
    return synthetic_mnist(train=60, test=20)


@pytest.fixture
def npz(arrays, tmp_path):
    np.savez_compressed(tmp_path / "mnist.npz", **arrays)
    return tmp_path / "mnist.npz"


def test_arrays_are_read_as_they_were_written(npz, arrays):
    for name, array in read_arrays(npz).items():
        np.testing.assert_array_equal(array, arrays[name])


def test_pictures_that_are_not_mnist_are_refused_with_both_hashes(npz):
    with pytest.raises(DataError, match=r"x_train is not MNIST's: SHA-256 [0-9a-f]{64}, expected 741c9888"):
        load_mnist(npz)


def test_a_truncated_file_is_refused(npz):
    npz.write_bytes(npz.read_bytes()[:2000])

    with pytest.raises(DataError, match="cannot read the four MNIST arrays"):
        load_mnist(npz)


def test_one_array_is_not_mnist(tmp_path):
    np.save(tmp_path / "pixels.npy", np.zeros((2, 28, 28), np.uint8))

    with pytest.raises(DataError, match="cannot read the four MNIST arrays"):
        read_arrays(tmp_path / "pixels.npy")


def test_a_file_without_labels_is_refused(arrays, tmp_path):
    np.savez(tmp_path / "half.npz", x_train=arrays["x_train"], x_test=arrays["x_test"])

    with pytest.raises(DataError, match="y_train"):
        load_mnist(tmp_path / "half.npz")


def test_pickled_arrays_are_not_opened(tmp_path):
    np.savez(tmp_path / "objects.npz", x_train=np.array([{}], dtype=object))

    with pytest.raises(DataError, match="allow_pickle"):
        load_mnist(tmp_path / "objects.npz")


@pytest.mark.parametrize("validation", [60, 61])
def test_holding_back_every_image_is_refused(arrays, validation):
    with pytest.raises(DataError, match=f"{validation} images held back of 60 leave none to train on"):
        split(arrays, validation=validation, seed=1)


def test_no_file_ends_in_status_2_and_names_the_three_ways(capsys):
    assert main(["--mnist", "/nowhere/mnist.npz"]) == 2

    message = capsys.readouterr().err
    for way in ("--mnist", "CLEARDIGITS_MNIST", "~/.keras/datasets"):
        assert way in message


def test_the_flag_wins_over_the_environment():
    environ = {"CLEARDIGITS_MNIST": "/from/environment"}

    assert mnist_path(Path("/from/flag"), environ) == Path("/from/flag")
    assert mnist_path(None, environ) == Path("/from/environment")
    assert mnist_path(None, {}) is None


def test_pixels_are_scaled_to_one_and_sets_share_no_picture(arrays):
    arrays["x_train"] = np.arange(60, dtype=np.uint8)[:, None, None] * np.ones(
        (1, 28, 28), np.uint8
    )  # each its own grey
    data = split(arrays, validation=10, seed=3)

    assert (data.train.images.shape, data.train.images.dtype) == ((50, 28, 28, 1), np.float32)
    assert data.test.images.max() <= 1
    greys = np.concatenate([data.train.images[:, 0, 0, 0], data.validation.images[:, 0, 0, 0]]) * 255
    assert sorted(np.rint(greys)) == list(range(60))


def test_the_split_follows_the_seed(arrays):
    first, again, other = (split(arrays, validation=10, seed=seed).validation.images for seed in (3, 3, 4))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_another_validation_share_keeps_every_picture(arrays):
    data = split(arrays, validation=10, seed=3).with_validation_share(0.3)

    assert (len(data.train), len(data.validation), len(data.test)) == (42, 18, 20)
