"""What is mixed up is found: each picture is known by its probabilities, at its place, in its request."""

import numpy as np
import pytest

from tests.fuzz.tagged import APART, Known, distinct, mistake


@pytest.fixture
def known() -> Known:
    """Four pictures; nothing of them counts but their probabilities."""
    return Known(np.zeros((4, 28, 28), np.uint8), np.eye(4, 10, dtype=np.float32))


def results_of(rows: np.ndarray) -> list[dict[str, object]]:
    return [{"index": index, "probabilities": row.round(6).tolist()} for index, row in enumerate(rows)]


def test_the_right_answer_is_no_mistake(known):
    rows = known.probabilities[[2, 0, 2]]

    assert mistake(results_of(rows + np.float32(2e-6)), rows, known) == ""


def test_two_pictures_of_a_request_in_each_others_place_are_found(known):
    answered = known.probabilities[[0, 2, 1]]

    found = mistake(results_of(answered), known.probabilities[[0, 1, 2]], known)

    assert found == "2 of 3 are wrong; the first, at 1, by 1.0000: those of picture 2"


def test_the_answer_of_another_request_is_found(known):
    assert "those of picture 3" in mistake(results_of(known.probabilities[3:]), known.probabilities[:1], known)


def test_probabilities_of_no_picture_are_found(known):
    rows = np.full((1, 10), 0.1, np.float32)

    assert "those of no picture" in mistake(results_of(rows), known.probabilities[:1], known)


@pytest.mark.parametrize("numbered", [[1, 0], [0], [0, 1, 2]])
def test_results_that_are_missing_or_out_of_order_are_found(known, numbered):
    results = [{"index": index, "probabilities": known.probabilities[0].tolist()} for index in numbered]

    assert "results numbered" in mistake(results, known.probabilities[:2], known)


def test_pictures_that_cannot_be_told_apart_are_left_out():
    rows = np.zeros((4, 10), np.float32)
    rows[1, 0], rows[2, 0], rows[3, 0] = APART / 2, 0.5, 0.6

    np.testing.assert_array_equal(distinct(rows), [2, 3])
