"""Cutting a strip into candidate pieces."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.lines import segment
from services.core.lines.segment import cut


def _strip(width, *strokes):
    """A strip with bars (left, right, top, bottom) of full ink."""
    strip = np.zeros((28, width, 1), np.float32)
    for left, right, top, bottom in strokes:
        strip[top:bottom, left:right] = 1
    return strip


def _whole(pieces):
    """The boxes of pieces made of one part."""
    alone = pieces.stops - pieces.starts == 1
    return [tuple(box) for box in pieces.boxes[alone].tolist()]


@settings(max_examples=60, deadline=None)
@given(quarter=st.integers(7, 80), seed=st.integers(0, 2**32 - 1), share=st.floats(0, 1))
def test_any_strip_gives_few_pieces_within_it(quarter, seed, share):
    rng = np.random.default_rng(seed)
    strip = (rng.random((28, 4 * quarter, 1)) * (rng.random((28, 4 * quarter, 1)) < share)).astype(np.float32)

    pieces = cut(strip)

    assert len(pieces) <= segment.MAX_PIECES
    assert pieces.images.shape == (len(pieces), 28, 28, 1)
    assert pieces.images.dtype == np.float32
    assert np.isfinite(pieces.images).all()
    assert pieces.images.min(initial=0) >= 0
    assert pieces.images.max(initial=0) <= 1
    assert (pieces.starts < pieces.stops).all()
    assert (pieces.stops <= pieces.parts).all()
    left, top, right, bottom = pieces.boxes.T
    assert (left >= 0).all() and (left < right).all() and (right <= 4 * quarter).all()
    assert (top >= 0).all() and (top < bottom).all() and (bottom <= 28).all()
    assert pieces.part_ink.sum() == pytest.approx(strip[strip >= segment.FAINT].sum(), rel=1e-4, abs=1e-3)


def test_an_empty_strip_has_no_pieces():
    assert len(cut(_strip(56))) == 0


def test_digits_apart_are_parts_of_their_own():
    pieces = cut(_strip(84, (8, 12, 4, 24), (30, 34, 4, 24), (60, 70, 4, 24)))

    assert _whole(pieces) == [(8, 4, 12, 24), (30, 4, 34, 24), (60, 4, 70, 24)]
    assert len(pieces) == 3, "wide gaps are never inside of a piece"


@pytest.mark.parametrize("tall", [17, 19, 23])
def test_a_digit_of_about_the_right_size_keeps_its_pixels(tall, rng):
    """Faint ones too: what a denoiser is not sure of tells the classifier something."""
    digit = rng.uniform(0.5, 1, (tall, 9)).astype(np.float32)
    digit[3:-3, 3:6] = rng.uniform(0.01, 0.14, (tall - 6, 3))
    strip = np.zeros((28, 56, 1), np.float32)
    strip[2 : 2 + tall, 20 : 20 + digit.shape[1], 0] = digit

    (image,) = cut(strip).images

    rows, columns = np.nonzero(image[..., 0])
    found = image[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1, 0]
    np.testing.assert_array_equal(found, digit)


def test_slanted_digits_whose_columns_overlap_are_parted_without_cutting_ink():
    strip = np.zeros((28, 56, 1), np.float32)
    for row in range(4, 24):
        for start in (8, 16):  # two strokes leaning by 14 columns, 8 apart
            column = start + round((24 - row) * 0.7)
            strip[row, column : column + 3] = 1

    pieces = cut(strip)

    assert len(_whole(pieces)) == 2
    assert pieces.cut_ink.tolist() == [pytest.approx(0, abs=1)]


def test_touching_digits_are_cut_where_they_touch():
    pieces = cut(_strip(56, (8, 11, 4, 24), (11, 20, 13, 15), (20, 23, 4, 24)))

    assert any(left == 8 and right <= 20 for left, _, right, _ in _whole(pieces))
    assert any(left >= 11 and right == 23 for left, _, right, _ in _whole(pieces))
    assert (8, 4, 23, 24) in [tuple(box) for box in pieces.boxes], "both together may still be one digit"


def test_digits_that_touch_along_a_whole_stroke_are_cut_as_well():
    """No column is cheaper than the next: wide ink is cut at even distances."""
    pieces = cut(_strip(56, (8, 36, 4, 7), (8, 36, 12, 15), (8, 36, 21, 24)))

    lefts, rights = pieces.boxes[:, 0], pieces.boxes[:, 2]
    for middle in (20, 22, 24):
        assert np.abs(rights[lefts == 8] - middle).min() <= 2
        assert np.abs(lefts[rights == 36] - middle).min() <= 2


def test_ink_as_wide_as_a_digit_stays_whole():
    assert len(cut(_strip(56, (20, 34, 4, 7), (20, 34, 12, 15), (20, 34, 21, 24)))) == 1


def test_a_cut_off_end_of_a_stroke_is_no_candidate():
    pieces = cut(_strip(56, (8, 30, 13, 15), (30, 34, 4, 24)))

    heights = pieces.boxes[:, 3] - pieces.boxes[:, 1]
    assert len(pieces) > 0 and heights.min() >= segment.MIN_CUT_HEIGHT_PX


def test_wide_ink_counts_once_among_what_lies_apart():
    wide = _strip(84, (8, 30, 4, 24), (50, 56, 4, 24))

    assert len(cut(wide)) > 2
    assert segment.apart(wide) == 2


def test_a_dot_is_no_candidate():
    assert len(cut(_strip(56, (20, 23, 20, 23)))) == 0


def test_many_strokes_stay_within_the_bound():
    strokes = [(left, left + 2, 4, 24) for left in range(4, 890, 5)]

    assert 0 < len(cut(_strip(896, *strokes))) <= segment.MAX_PIECES


def test_a_piece_is_centred_by_its_mass_at_a_digits_size():
    digit = cut(_strip(56, (20, 25, 10, 20))).images[0, ..., 0]

    rows, columns = np.nonzero(digit)
    assert np.ptp(rows) + 1 == 15, "enlarged by 1.5 at most: a dot must not look like a 0"
    assert rows.mean() == pytest.approx(13.5, abs=0.5)
    assert columns.mean() == pytest.approx(13.5, abs=0.5)


def test_a_piece_shows_its_own_parts_and_the_faint_rim_of_its_ink():
    strip = _strip(56, (20, 25, 4, 24))
    for row in range(4, 24):  # the strokes lean, and share columns
        strip[row, 29 + (24 - row) // 4 : 32 + (24 - row) // 4] = 1
    strip[4:24, 19] = 0.3

    pieces = cut(strip)

    bar, leaning = pieces.images[:2, ..., 0]
    assert len(pieces) == 2
    assert np.count_nonzero(bar[13] > 0.9) == 5 and np.count_nonzero(bar[13] > 0.1) == 6
    assert leaning.sum() == pytest.approx(60, abs=3), "no ink of the bar, and no size lost"
