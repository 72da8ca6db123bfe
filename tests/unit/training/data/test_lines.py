"""Digits among others: what strips say of their digits, and what cuts leave of them."""

import numpy as np
import pytest

from tests.support.digits import synthetic_mnist
from training.data import lines
from training.data.dataset import split


@pytest.fixture(scope="module")
def digits():
    return split(synthetic_mnist(train=320, test=10), validation=10, seed=0).train


def test_the_digits_of_a_strip_are_whole_and_named(digits, rng):
    found = lines.strips(digits, 40, rng)

    assert found.images.shape == (40, 28, lines.STRIP_PX, 1)
    assert found.lefts.min() >= 0 and found.lefts.max() <= lines.STRIP_PX - 28
    assert (found.lefts[:, 0] != found.lefts[:, 1]).all()
    of_label = {label: digits.images[digits.labels == label].sum(axis=(1, 2, 3)) for label in range(10)}
    for strip, lefts, masks, labels in zip(found.images, found.lefts, found.masks, found.labels, strict=True):
        for left, mask, label in zip(lefts, masks, labels, strict=True):
            ink = float((strip[:, left : left + 28] * mask).sum())
            assert ink > 0.2 * of_label[label].min()  # the smallest and thinnest


def test_a_strip_is_its_digits_and_paper(digits, rng):
    """Nothing of a digit lies outside its mask, so that what is read is what is named."""
    one = digits[:1]
    found = lines.strips(one, 20, rng)

    assert (found.labels == one.labels[0]).all()
    assert found.images.max() <= 1.0001
    assert 0.05 < found.masks.mean() < 0.7


def test_a_digit_cut_out_of_a_line_is_mostly_itself(digits, rng):
    chosen = np.arange(60)
    written = lines.cut_out(digits, chosen, rng)

    assert (written.shape, written.dtype) == ((60, 28, 28, 1), np.float32)
    ink, whole = written.sum(axis=(1, 2, 3)), digits.images[chosen].sum(axis=(1, 2, 3))
    assert 0.6 < np.median(ink / whole) < 1.6


def test_a_wrong_piece_is_not_one_whole_digit(digits, rng):
    """Half of a digit, or more than one: never as wide as a 1 alone, and framed as digits are."""
    found = lines.pieces(digits, 200, rng)

    rows, columns = (found > 0.1).any(axis=2).sum(axis=1)[:, 0], (found > 0.1).any(axis=1).sum(axis=1)[:, 0]
    assert np.maximum(rows, columns).max() <= 21
    assert np.median(np.maximum(rows, columns)) >= 19
    assert np.quantile(columns, 0.02) >= 5


@pytest.mark.parametrize("make", [lines.pieces, lambda digits, count, rng: lines.strips(digits, count, rng).images])
def test_the_same_draws_give_the_same_pictures(make, digits):
    first, again = (make(digits, 5, np.random.default_rng(3)) for _ in range(2))

    np.testing.assert_array_equal(first, again)
