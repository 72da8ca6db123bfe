"""Finding the line of ink in a picture, and bringing it to the strip that the models read."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from services.core.lines import strip as strips
from services.core.lines.strip import find, padded
from services.core.noise import NOISES, gaussian


def _picture(width=150, height=40, *, digits=((10, 12), (40, 9), (70, 12), (110, 14)), scale=1):
    """White bars and rings on black, each 14 px wide and 20 tall, at (left, top)."""
    picture = np.zeros((height * scale, width * scale), np.uint8)
    for number, (left, top) in enumerate(digits):
        centre = ((left + 7) * scale, (top + 10) * scale)
        if number % 2:
            cv2.rectangle(
                picture, ((left + 5) * scale, top * scale), ((left + 8) * scale, (top + 20) * scale - 1), 255, -1
            )
        else:
            cv2.ellipse(picture, centre, (5 * scale, 8 * scale), 0, 0, 360, 255, 3 * scale)
    return picture


def _found_at(strip):
    """The box, in the picture, of the ink on the strip."""
    rows, columns = np.nonzero(strip.image[..., 0] > 0.5)
    box = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float32)
    return strip.in_picture(box)[0]


@settings(max_examples=80, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
    share=st.sampled_from([0, 0.01, 0.2, 1]),
    invert=st.booleans(),
)
def test_any_picture_gives_a_strip_of_the_models_size_or_none(height, width, seed, share, invert):
    rng = np.random.default_rng(seed)
    grey = (rng.integers(0, 256, (height, width)) * (rng.random((height, width)) < share)).astype(np.uint8)

    strip = find(255 - grey if invert else grey)

    if strip is None:
        return
    assert strip.image.shape[0] == 28
    assert strip.image.shape[2] == 1
    assert 28 <= strip.image.shape[1] <= strips.MAX_WIDTH_PX
    assert strip.image.shape[1] % 4 == 0
    assert strip.image.dtype == np.float32
    assert strip.image.min() >= 0
    assert strip.image.max() <= 1
    everything = np.array([[0, 0, strip.image.shape[1], 28]], np.float32)
    x, y, w, h = strip.in_picture(everything)[0]
    assert 0 <= x < x + w <= width
    assert 0 <= y < y + h <= height


@pytest.mark.parametrize("value", [0, 128, 255])
def test_paper_alone_holds_no_line(value):
    assert find(np.full((60, 200), value, np.uint8)) is None


def test_a_picture_on_mnists_grid_keeps_its_pixels():
    picture = _picture()

    strip = find(picture)

    left, top = np.rint(strip.to_picture @ [0, 0, 1]).astype(int)
    inside = strip.image[:, -left : -left + 150, 0] if left < 0 else strip.image[:, : 150 - left, 0]
    expected = picture[top : top + 28, max(left, 0) : max(left, 0) + inside.shape[1]] / np.float32(255)
    assert np.allclose(strip.to_picture[:, :2], np.eye(2))
    assert np.allclose(inside[:, : expected.shape[1]], expected)


@pytest.mark.parametrize("scale", [1, 2, 3, 6])
@pytest.mark.parametrize("invert", [False, True])
def test_the_strip_is_the_same_at_any_size_and_polarity(scale, invert):
    picture = cv2.resize(_picture(), None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    strip = find(255 - picture if invert else picture)

    x, y, w, h = _found_at(strip)
    assert (x, y) == pytest.approx((11 * scale, 9 * scale), abs=2 * scale)
    assert (x + w, y + h) == pytest.approx((119 * scale, 34 * scale), abs=2 * scale)
    assert np.count_nonzero(strip.image > 0.5) == pytest.approx(np.count_nonzero(_picture() > 127), rel=0.25)


def test_noisy_pixels_that_were_enlarged_come_back_to_their_own_grid(rng):
    noisy = gaussian((_picture() / np.float32(255))[None, ..., None], 0.5, rng)[0, ..., 0]
    grey = np.rint(255 * noisy).astype(np.uint8)

    own, enlarged = find(grey), find(grey.repeat(5, axis=0).repeat(5, axis=1))

    assert np.array_equal(own.image, enlarged.image)
    assert enlarged.to_picture == pytest.approx(5 * own.to_picture)


@pytest.mark.parametrize("times", [2, 2.2, 3, 4.5, 8.6])
@pytest.mark.parametrize("way", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS])
def test_noise_that_was_enlarged_smoothly_comes_back_nearly(way, times, rng):
    """Of 60 lines at Gaussian 0.5 47 are read whole; enlarged to twice their size by Pillow 45 are, and 6 were."""
    noisy = gaussian((_picture() / np.float32(255))[None, ..., None], 0.5, rng)[0, ..., 0]
    grey = np.rint(255 * noisy).astype(np.uint8)
    size = round(times * grey.shape[1]), round(times * grey.shape[0])

    own, enlarged = find(grey), find(np.asarray(Image.fromarray(grey).resize(size, way)))

    assert enlarged.image.shape == own.image.shape
    assert np.corrcoef(own.image.ravel(), enlarged.image.ravel())[0, 1] > 0.95
    assert enlarged.to_picture == pytest.approx(times * own.to_picture, rel=0.02, abs=0.5)


def test_enlarged_noise_a_pixel_or_two_wide_is_no_error(rng):
    """Of three columns, enlarged upwards alone, fewer than half a column would have been left."""
    for times in (3, 4):
        grey = cv2.resize(rng.integers(0, 256, (120 // times, 3)).astype(np.uint8), (3, 120))

        strip = find(grey)

        assert strip is None or strip.image.shape[0] == 28


def test_even_strokes_are_not_taken_for_enlarged_pixels():
    """A bar of 20 equal rows with 10 rows of paper above and below it was brought to 4 rows."""
    picture = np.zeros((40, 60), np.uint8)
    picture[10:30, 20:30] = picture[10:30, 40:50] = 255

    assert np.allclose(find(picture).to_picture[:, :2], np.eye(2))


@pytest.mark.parametrize("scale", [1, 4], ids=["moved", "turned"])
@pytest.mark.parametrize("degrees", [-10, -5, 5, 10])
def test_a_skewed_line_is_made_level_and_its_boxes_lie_where_it_was(degrees, scale):
    picture = np.pad(_picture(digits=tuple((10 + 26 * n, 10) for n in range(5)), scale=scale), 30 * scale)
    matrix = cv2.getRotationMatrix2D((picture.shape[1] / 2, picture.shape[0] / 2), degrees, 1)
    turned = cv2.warpAffine(picture, matrix, picture.shape[::-1])

    strip = find(turned)

    rows = np.nonzero(strip.image[..., 0] > 0.5)[0]
    assert np.ptp(rows) + 1 <= 25, "20 px tall digits in one level row"
    expected = cv2.boundingRect((turned > 127).astype(np.uint8))
    x, _, w, _ = _found_at(strip)
    assert (x, x + w) == pytest.approx((expected[0], expected[0] + expected[2]), abs=5 * scale)


def test_a_scribble_beyond_the_digits_does_not_make_them_smaller():
    picture = _picture(height=64, digits=((10, 22), (40, 20), (70, 22), (110, 22)))
    cv2.line(picture, (43, 10), (50, 44), 255, 2)

    strip = find(picture)

    assert np.allclose(strip.to_picture[:, :2], np.eye(2))
    _, top, _, height = _found_at(strip)
    assert top <= 20 and top + height >= 42, "the rows with most of the ink"


def test_bits_of_digits_that_have_faded_are_one_line():
    picture = np.zeros((44, 130), np.uint8)
    for left in (12, 40, 68, 96):
        picture[12:32, left : left + 14] = 75  # faint but for its top and bottom, as motion along the line leaves it
        picture[12:16, left : left + 14] = picture[28:32, left : left + 14] = 255

    strip = find(picture)

    assert strip.lines == 1
    assert np.allclose(strip.to_picture[:, :2], np.eye(2))


@pytest.mark.parametrize("degrees", [-8, 8])
def test_noise_on_a_skewed_line_is_what_it_was(degrees):
    """A denoiser has learnt noise whose pixels know nothing of one another: resampled, it was read 11 points worse."""
    picture = np.pad(_picture(digits=tuple((10 + 26 * n, 10) for n in range(5))), 30)
    matrix = cv2.getRotationMatrix2D((picture.shape[1] / 2, picture.shape[0] / 2), degrees, 1)
    turned = cv2.warpAffine(picture, matrix, picture.shape[::-1]) / np.float32(255)
    noisy = np.rint(
        255 * gaussian(turned[np.newaxis, ..., np.newaxis], 0.5, np.random.default_rng(5))[0, ..., 0]
    ).astype(np.uint8)

    strip = find(noisy)

    assert abs(strip.to_picture[1, 0]) > 0.1, "it was made level"
    windows = np.lib.stride_tricks.sliding_window_view(noisy, 28, axis=0).reshape(-1, 28)
    columns = {column.tobytes() for column in windows}
    found = np.rint(255 * strip.image[..., 0]).astype(np.uint8).T
    kept = [np.ascontiguousarray(column).tobytes() in columns for column in found]
    assert np.mean(kept) > 0.95, "each column of the strip is a part of one of the picture's"


def test_a_ruled_line_is_not_taken_for_ink():
    picture = _picture()
    ruled = picture.copy()
    ruled[34:36] = 200

    strip = find(ruled)

    assert not (strip.image[:, :, 0] > 0.5).all(axis=1).any()
    assert np.count_nonzero(strip.image > 0.5) == pytest.approx(np.count_nonzero(picture > 127), rel=0.1)


def test_boxes_of_a_form_are_not_taken_for_ink():
    picture = _picture(170, 50, digits=((22, 15), (54, 15), (86, 15), (118, 15)))
    boxed = picture.copy()
    boxed[8:10, 12:142] = boxed[41:43, 12:142] = 220
    for wall in range(12, 144, 32):
        boxed[8:43, wall : wall + 2] = 220

    strip = find(boxed)

    assert np.count_nonzero(strip.image > 0.5) == pytest.approx(np.count_nonzero(picture > 127), rel=0.1)


def test_the_bars_of_sevens_are_no_rule():
    picture = np.zeros((36, 100), np.uint8)
    for left in (8, 30, 52, 74):
        picture[8:11, left : left + 16] = 255
        cv2.line(picture, (left + 14, 9), (left + 4, 27), 255, 3)

    assert np.count_nonzero(find(picture).image > 0.5) == pytest.approx(np.count_nonzero(picture > 127), rel=0.05)


def test_a_second_line_is_reported():
    picture = np.vstack([_picture(), np.zeros((10, 150), np.uint8), _picture()])

    assert find(picture).lines == 2
    assert find(_picture()).lines == 1


def test_a_line_is_found_under_noise(rng):
    clean = _picture()
    noisy = gaussian((clean / np.float32(255))[None, ..., None], 0.5, rng)[0, ..., 0]

    strip = find(np.rint(255 * noisy).astype(np.uint8))

    assert np.allclose(strip.to_picture[:, :2], np.eye(2))
    assert strip.to_picture[1, 2] == pytest.approx(7, abs=2), "the 28 rows around the digits"


def test_padding_mirrors_what_is_on_the_right(rng):
    """Before black padding a denoiser takes the end of noise for a stroke: striped lines were read as too long."""
    strip = rng.random((28, 40, 1), np.float32)

    wider = padded(strip, 56)

    assert np.array_equal(wider[:, :40], strip)
    assert np.array_equal(wider[:, 40:], strip[:, 38:22:-1])


def test_digits_much_fainter_than_the_others_belong_to_the_line():
    """Motion fades strokes that it crosses: a 1 at the end was left out, and the rest accepted."""
    picture = np.zeros((48, 160), np.uint8)
    cv2.putText(picture, "407", (30, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.95, 255, 3, cv2.LINE_AA)
    cv2.putText(picture, "1", (8, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.95, 80, 3, cv2.LINE_AA)
    cv2.putText(picture, "8", (130, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.95, 80, 3, cv2.LINE_AA)

    strip = find(picture)

    assert strip is not None and strip.lines == 1
    ((left, _, width, _),) = strip.in_picture(np.array([[0, 0, strip.image.shape[1], 28]], np.float32))
    inked = np.flatnonzero(picture.any(axis=0))
    assert left <= inked[0] and left + width > inked[-1]


def test_pale_ruled_lines_are_no_faint_digits():
    picture = np.zeros((200, 700), np.uint8)
    cv2.putText(picture, "40718", (120, 130), cv2.FONT_HERSHEY_SIMPLEX, 3, 255, 8, cv2.LINE_AA)
    ruled = picture.copy()
    ruled[20::40] = np.maximum(ruled[20::40], 70)
    ruled[21::40] = np.maximum(ruled[21::40], 70)

    plain, strip = find(picture), find(ruled)

    assert plain is not None and strip is not None
    np.testing.assert_allclose(strip.to_picture, plain.to_picture, atol=3)


def test_half_bright_stripes_do_not_turn_a_picture_black_on_white():
    picture = np.zeros((48, 160), np.uint8)
    cv2.putText(picture, "40718", (20, 36), cv2.FONT_HERSHEY_SIMPLEX, 0.95, 255, 3, cv2.LINE_AA)
    clean = (picture / np.float32(255))[np.newaxis, ..., np.newaxis]
    for seed in range(20):
        striped = NOISES["bright_stripes"](clean, 0.5, np.random.default_rng(seed))
        strip = find(np.rint(255 * striped[0, ..., 0]).astype(np.uint8))

        assert strip is not None
        left, top = strip.to_picture[:, 2].astype(int)
        inked = picture[top : top + 28, left : left + strip.image.shape[1]] == 255
        assert strip.image[: len(inked), : inked.shape[1], 0][inked].mean() > 0.9


def test_a_noisy_digit_that_fills_its_picture_is_found(rng):
    """Its own ink was taken for the grain of the paper, and the picture for empty."""
    clean = np.zeros((1, 28, 28, 1), np.float32)
    cv2.ellipse(clean[0, ..., 0], (14, 14), (7, 9), 0, 0, 360, 1.0, 3)

    found = [find(np.rint(255 * gaussian(clean, 0.5, rng)[0, ..., 0]).astype(np.uint8)) for _ in range(20)]

    assert sum(strip is not None for strip in found) >= 19


@pytest.mark.parametrize("level", [0.25, 0.5, 1.0])
def test_noise_alone_holds_no_line(level, rng):
    paper = np.zeros((1, 40, 140, 1), np.float32)

    found = [find(np.rint(255 * gaussian(paper, level, rng)[0, ..., 0]).astype(np.uint8)) for _ in range(20)]

    assert sum(strip is not None for strip in found) <= 1


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 30)), min_size=1, max_size=40))
def test_groups_are_those_that_a_look_at_every_group_finds(intervals):
    tops, ends = np.array([(top, top + height) for top, height in intervals]).T
    groups: list[list[int]] = []
    for top, end in sorted(set(zip(tops.tolist(), ends.tolist(), strict=True))):
        for group in groups:
            overlap = min(end, group[1]) - max(top, group[0])
            if 3 * overlap > min(end - top, group[1] - group[0]):
                group[1] = max(end, group[1])
                group.append((top, end))
                break
        else:
            groups.append([top, end, (top, end)])

    found = strips._joined(tops, ends)

    assert [sorted({(tops[each], ends[each]) for each in group}) for group in found] == [
        sorted(group[2:]) for group in groups
    ]
