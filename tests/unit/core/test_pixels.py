"""Raw pixels: what is taken, in which range, and what is said of the rest."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.errors import InvalidInputError
from services.core.pixels import from_array, from_bytes, from_lists, from_npy


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


@pytest.fixture
def pictures(rng) -> np.ndarray:
    return rng.integers(0, 256, (3, 28, 28), np.uint8)


def test_bytes_are_pictures_without_a_copy(pictures):
    data = pictures.tobytes()

    read = from_bytes(data)

    np.testing.assert_array_equal(read, pictures)
    assert not read.flags.owndata


@pytest.mark.parametrize("size", [0, 783, 785])
def test_bytes_that_are_no_whole_pictures_are_invalid(size):
    with pytest.raises(InvalidInputError, match=f"{size} bytes"):
        from_bytes(bytes(size))


@pytest.mark.parametrize("shape", [(3, 28, 28), (3, 28, 28, 1), (3, 784)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_npy_round_trip(pictures, shape, dtype, order):
    array = pictures.reshape(shape) if dtype == np.uint8 else (pictures / np.float32(255)).reshape(shape)

    read = from_npy(npy(np.asarray(array, order=order)))

    assert read.dtype == dtype
    np.testing.assert_array_equal(read, array.reshape(3, 28, 28))


@pytest.mark.parametrize("shape", [(28, 28), (784,), (28, 28, 1)])
def test_one_picture_alone_is_a_batch_of_one(shape, pictures):
    np.testing.assert_array_equal(from_array(pictures[0].reshape(shape)), pictures[:1])


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 28, 27), np.uint8), r"shape \[2, 28, 27\]"),
        (np.zeros((0, 28, 28), np.uint8), "no pictures"),
        (np.zeros((2, 784), np.float64), "float64"),
        (np.full((1, 784), 1.5, np.float32), "from 1.5 to 1.5"),
        (np.full((1, 784), np.nan, np.float32), "from nan to nan"),
        (np.full((1, 784), -np.inf, np.float32), "from -inf"),
        (np.zeros((2, 784), "U3"), "<U3"),
        (np.array([{}] * 784, object), "object"),
        (np.zeros((), np.uint8), r"shape \[\]"),
    ],
)
def test_arrays_that_are_no_pictures_are_invalid(array, message):
    with pytest.raises(InvalidInputError, match=message):
        from_npy(npy(array))


def test_an_npy_header_promises_no_memory():
    data = npy(np.zeros((1, 784), np.uint8)).replace(b"(1, 784)", b"(1 << 40, 784)".ljust(8))
    with pytest.raises(InvalidInputError):
        from_npy(data)
    huge = npy(np.zeros((1, 784), np.uint8)).replace(b"(1, 784), }         ", b"(999999999999, 784),}")
    with pytest.raises(InvalidInputError):
        from_npy(huge)


def test_nothing_is_unpickled():
    with pytest.raises(InvalidInputError, match="object"):
        from_npy(npy(np.array([print], object)))


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_npy_gets_past_as_another_error(rest):
    for start in (b"\x93NUMPY\1\0", b"\x93NUMPY\2\0", b"\x93NUMPY\1\0v\0", b""):
        with pytest.raises(InvalidInputError):
            from_npy(start + rest)


def test_lists_of_whole_numbers_stay_whole(pictures):
    for images in (pictures.tolist(), pictures.reshape(3, 784).tolist()):
        read = from_lists(images)

        assert read.dtype == np.uint8
        np.testing.assert_array_equal(read, pictures)


def test_rows_and_flat_pictures_may_be_mixed(pictures):
    images = [pictures[0].tolist(), pictures[1].ravel().tolist(), pictures[2].tolist()]

    np.testing.assert_array_equal(from_lists(images), pictures)


def test_fractions_become_float32(pictures):
    fractions = pictures / 255

    np.testing.assert_array_equal(from_lists(fractions.tolist()), fractions.astype(np.float32))


def test_ones_and_zeros_are_black_and_white():
    image = [0, 1] * 392

    assert from_lists([image]).max() == 1.0
    assert from_lists([image], scale=255).max() in (1, np.float32(1 / 255))  # 8-bit, as said


def test_a_scale_that_was_said_is_kept():
    assert from_lists([[127.5] * 784], scale=255).max() == np.float32(0.5)
    with pytest.raises(InvalidInputError, match="scale 1"):
        from_lists([[2] * 784], scale=1)
    with pytest.raises(InvalidInputError, match="scale 255"):
        from_lists([[256] * 784], scale=255)


def test_a_rounding_error_above_one_is_no_mistake():
    assert from_lists([[np.nextafter(1, 2)] * 784]).max() >= 1
    assert from_array(np.full((1, 784), np.nextafter(np.float32(1), np.float32(2)), np.float32)).shape == (1, 28, 28)


def test_fractions_above_one_are_refused_as_doubtful():
    with pytest.raises(InvalidInputError, match='"scale"'):
        from_lists([[0.5] * 783 + [1.2]])


GOOD = [0] * 784


@pytest.mark.parametrize(
    "bad",
    [
        1,
        None,
        {},
        "text",
        [],
        [0] * 783,
        [[0] * 28] * 27,
        [[0] * 27] * 28,
        [[0] * 28] * 27 + [5],
        [[0] * 28] * 27 + [[0] * 29],
        [None] * 784,
        ["0"] * 784,
        [[[0, 0]] * 28] * 28,
        [10**400] * 784,
        [10**10] + [[0] * 28] * 27,
    ],
)
def test_the_wrong_picture_is_named(bad):
    with pytest.raises(InvalidInputError, match="image 2 of 3"):
        from_lists([GOOD, bad, GOOD])


@pytest.mark.parametrize("value", [-1, 256, 1e308])
def test_numbers_out_of_range_are_invalid(value):
    with pytest.raises(InvalidInputError, match="pixels from"):
        from_lists([[value] + [2] * 783])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


def picture_with(places: dict[int, object], rows: bool) -> list:
    image: list = [0] * 784
    for place, value in places.items():
        image[place] = value
    return [image[start : start + 28] for start in range(0, 784, 28)] if rows else image


PICTURES = st.builds(picture_with, st.dictionaries(st.integers(0, 783), JSON, max_size=3), st.booleans())


@settings(max_examples=100, deadline=None)
@given(st.lists(JSON | PICTURES, min_size=1, max_size=3))
def test_no_lists_get_past_as_another_error(images):
    try:
        read = from_lists(images)
    except InvalidInputError:
        return
    assert read.shape == (len(images), 28, 28)
