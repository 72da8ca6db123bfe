"""Lines are found behind stripes and thin lines, at the size they were drawn at."""

import cv2
import numpy as np
import pytest

from services.core.lines import strip as strips
from services.core.lines.clutter import without_stripes, without_thin_lines
from services.core.noise import NOISES


def _picture():
    """Rings and bars on black, 20 px tall, from x 12 to 124 and y 10 to 30."""
    picture = np.zeros((40, 136), np.uint8)
    for left in (12, 66):
        cv2.ellipse(picture, (left + 7, 20), (5, 8), 0, 0, 360, 255, 3)
    for left in (42, 96, 120):
        picture[10:30, left : left + 4] = 255
    return picture


def _hidden(kind, seed):
    clean = (_picture() / np.float32(255))[np.newaxis, ..., np.newaxis]
    noisy = NOISES[kind](clean, 0.5, np.random.default_rng(seed))
    return np.rint(255 * noisy[0, ..., 0]).astype(np.uint8)


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("kind", ["stripes", "bright_stripes", "scribble"])
def test_a_line_behind_clutter_keeps_its_size(kind, invert):
    scales = []
    for seed in range(8):
        picture = _hidden(kind, seed)
        found = strips.find(255 - picture if invert else picture)
        scales.append(0.0 if found is None else float(np.linalg.norm(found.to_picture[:, 0])))

    assert np.mean(np.abs(np.array(scales) - 1) < 0.2) >= 0.75, scales


@pytest.mark.parametrize("kind", ["speckle", "shot"])
def test_ragged_ink_is_not_taken_for_thin_lines(kind):
    """Of lines under speckle 58 % were read rather than 91: a digit's fragments were taken for smaller digits."""
    picture = np.zeros((40, 120), np.uint8)
    cv2.putText(picture, "48072", (8, 30), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, 3, cv2.LINE_AA)
    clean = (picture / np.float32(255))[np.newaxis, ..., np.newaxis]
    for seed in range(30):
        mask = NOISES[kind](clean, 0.5, np.random.default_rng(seed))[0, ..., 0]
        mask = (mask > 0.5).view(np.uint8)

        np.testing.assert_array_equal(without_thin_lines(mask), mask)


@pytest.mark.parametrize("kind", ["stripes", "bright_stripes"])
def test_only_ink_is_left_of_a_striped_picture(kind):
    inked = cv2.dilate(_picture(), np.ones((5, 5), np.uint8)) > 0
    for seed in range(8):
        left = without_stripes(_hidden(kind, seed))

        assert left is not None and left.shape == inked.shape
        assert left[inked].mean() > 4 * left[~inked].mean()


def test_narrow_stripes_with_soft_rims_are_seen():
    """Rims and strokes have many greys: one striped picture in ten was taken for black on white."""
    clean = cv2.GaussianBlur(_picture(), (0, 0), 0.9)[np.newaxis, ..., np.newaxis] / np.float32(255)

    for seed in range(60):
        striped = NOISES["bright_stripes"](clean, 0.5, np.random.default_rng(seed))
        assert without_stripes(np.rint(255 * striped[0, ..., 0]).astype(np.uint8)) is not None, seed


def _with_form():
    picture = _picture()
    cv2.rectangle(picture, (4, 4), (131, 35), 255, 1)
    return picture


def _on_uneven_paper():
    return cv2.max(_picture(), np.broadcast_to(np.linspace(0, 120, 136).astype(np.uint8), (40, 136)))


@pytest.mark.parametrize("picture", [_picture(), _with_form(), _on_uneven_paper(), np.zeros((1, 1), np.uint8)])
def test_what_has_no_stripes_is_left_alone(picture):
    assert without_stripes(picture) is None


def test_thin_lines_that_join_digits_go():
    crossed = _picture()
    cv2.polylines(crossed, [np.array([[0, 20], [30, 2], [60, 38], [90, 2], [130, 38]])], False, 255, 1)

    left = without_thin_lines((crossed > 127).view(np.uint8))

    rows = np.flatnonzero(left.any(axis=1))
    assert (rows[0], rows[-1]) == pytest.approx((10, 29), abs=2)
    assert np.count_nonzero(left & (_picture() > 127)) > 0.7 * np.count_nonzero(_picture() > 127)


@pytest.mark.parametrize("thickness", [1, 2, 3])
def test_digits_stay_as_they_are_in_any_pen(thickness):
    picture = np.zeros((40, 120), np.uint8)
    cv2.putText(picture, "48072", (8, 30), cv2.FONT_HERSHEY_SIMPLEX, 1.0, 255, thickness, cv2.LINE_AA)
    mask = (picture > 115).view(np.uint8)

    assert np.array_equal(without_thin_lines(mask), mask)
