"""Data of every kind a user may bring, and what is said about data that is not as it should be."""

import numpy as np
import pytest

from services.core.images import encode_png
from services.evaluator.data import dataset
from services.evaluator.errors import DatasetError
from tests.support.tiny_models import digits


def test_an_npz_of_x_and_y(tmp_path):
    pixels, labels = digits(12)
    np.savez(tmp_path / "mine.npz", x=pixels, y=labels)

    data = dataset.load(tmp_path / "mine.npz")

    assert (data.name, len(data), data.images.shape, data.images.dtype) == ("mine.npz", 12, (12, 28, 28, 1), np.float32)
    assert np.array_equal(np.rint(255 * data.images[..., 0]), pixels)
    assert data.labels.tolist() == labels.tolist()
    assert len(data.first(5)) == 5


def test_the_layout_of_keras_uses_the_test_half(tmp_path):
    pixels, labels = digits(6)
    np.savez(tmp_path / "mnist.npz", x_train=pixels[:0], y_train=labels[:0], x_test=pixels, y_test=labels)

    assert len(dataset.load(tmp_path / "mnist.npz")) == 6


def test_a_folder_of_pictures_named_by_class(tmp_path):
    pixels, labels = digits(10)
    for at, (picture, label) in enumerate(zip(pixels, labels, strict=True)):
        (tmp_path / str(label)).mkdir(exist_ok=True)
        (tmp_path / str(label) / f"{at}.png").write_bytes(encode_png(picture[..., None] / np.float32(255)))

    data = dataset.load(tmp_path)

    assert len(data) == 10
    assert sorted(data.labels.tolist()) == sorted(labels.tolist())
    assert data.images.max() == 1.0


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3)}, "neither x_test and y_test"),
        ({"x": np.zeros((2, 28, 28)), "y": np.zeros(2, int)}, "have to be uint8"),
        ({"x": np.zeros((2, 32, 32), np.uint8), "y": np.zeros(2, int)}, "have to be uint8"),
        ({"x": np.zeros((2, 28, 28), np.uint8), "y": np.zeros(3, int)}, "as many whole-number labels"),
        ({"x": np.zeros((2, 28, 28), np.uint8), "y": np.array([1, 12])}, "digits from 0 to 9"),
        ({"x": np.zeros((0, 28, 28), np.uint8), "y": np.zeros(0, int)}, "as many whole-number labels"),
    ],
)
def test_a_wrong_array_is_refused_with_its_fault(tmp_path, arrays, message):
    np.savez(tmp_path / "wrong.npz", **arrays)

    with pytest.raises(DatasetError, match=message):
        dataset.load(tmp_path / "wrong.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no archive"])
def test_a_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "broken.npz").write_bytes(content)

    with pytest.raises(DatasetError, match="cannot read"):
        dataset.load(tmp_path / "broken.npz")


def test_one_array_is_no_npz(tmp_path):
    np.save(tmp_path / "pixels.npy", np.zeros((2, 28, 28), np.uint8))

    with pytest.raises(DatasetError, match=r"it is no \.npz file, nor a folder"):
        dataset.load(tmp_path / "pixels.npy")


def test_a_folder_without_pictures_and_a_picture_that_is_none(tmp_path):
    with pytest.raises(DatasetError, match="no pictures"):
        dataset.load(tmp_path)

    (tmp_path / "3").mkdir()
    (tmp_path / "3" / "text.png").write_text("no picture")
    with pytest.raises(DatasetError, match=r"text\.png"):
        dataset.load(tmp_path)
