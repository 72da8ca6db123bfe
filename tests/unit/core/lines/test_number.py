"""The number that is told: its confidence, its boxes, its rivals."""

import numpy as np
import pytest

from services.core.lines.number import NOTHING, number_of
from services.core.lines.segment import cut


def _line(*lefts):
    strip = np.zeros((28, 84, 1), np.float32)
    for left in lefts:
        strip[4:24, left : left + 8] = 1
    return cut(strip)


def _scores(*rows):
    """Each row: digit, its confidence."""
    probabilities = np.full((len(rows), 10), 1e-4, np.float32)
    for row, (digit, confidence) in enumerate(rows):
        probabilities[row, digit] = confidence
        probabilities[row, (digit + 1) % 10] = 1 - confidence
    return probabilities


def test_doubt_is_the_mean_of_what_the_digits_and_the_rivals_leave():
    number = number_of(_line(8, 40), _scores((4, 0.99), (0, 0.9)), np.array([1, 0.95], np.float32))

    assert number.number == "40"
    assert [(each.digit, each.box) for each in number.digits] == [(4, (8, 4, 16, 24)), (0, (40, 4, 48, 24))]
    by_digits = 1 - 0.99 * 0.9 * 0.95
    by_rivals = sum(probability for _, probability in number.alternatives)
    assert number.confidence == pytest.approx(1 - (by_digits * by_rivals) ** 0.5, rel=0.01)
    assert number.alternatives[0][0] == "41"
    assert number.alternatives[0][1] == pytest.approx(0.1, abs=0.01)


def test_unread_ink_takes_certainty_away():
    sure = _scores((4, 0.999), (8, 0.5), (0, 0.999))
    number = number_of(_line(8, 32, 56), sure, np.array([1, 0.001, 1], np.float32))

    assert number.number == "40"
    assert number.confidence < 0.1, "what lies between 4 and 0 was not read"


@pytest.mark.parametrize(("least", "sure"), [(0.98, False), (0.91, True), (0.74, False)])
def test_a_number_is_sure_only_if_each_digit_is_likely_a_digit(least, sure):
    """A letter is read with great confidence; that it may be none is all that gives it away."""
    number = number_of(_line(8, 40), _scores((4, 0.99), (0, 0.99)), np.array([1, least], np.float32))

    assert number.confidence > 0.8
    assert number.sure(0.99 if least == 0.98 else 0.6) is sure
    assert not NOTHING.sure(0)


def test_a_line_of_strangers_is_no_number():
    assert number_of(_line(8, 40), _scores((4, 0.9), (0, 0.9)), np.full(2, 1e-4, np.float32)).number == ""


def test_no_number_of_that_length_is_nothing():
    assert number_of(_line(8, 40), _scores((4, 0.9), (0, 0.9)), np.ones(2, np.float32), length=(3, 3)) is NOTHING
