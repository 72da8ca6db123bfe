"""The likeliest number on a lattice, held against trying every way."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.core.lines import lattice
from services.core.lines.lattice import readings
from services.core.lines.segment import Pieces


def _pieces(parts, edges, *, part_ink=None, cut_ink=None, tall=20):
    count = len(edges)
    return Pieces(
        images=np.zeros((count, 28, 28, 1), np.float32),
        starts=np.array([start for start, _ in edges], np.intp),
        stops=np.array([stop for _, stop in edges], np.intp),
        boxes=np.hstack([np.full((count, 3), (0, 0, 12)), np.broadcast_to(tall, (count, 1))]).astype(np.float32),
        part_ink=np.full(parts, 50, np.float32) if part_ink is None else part_ink,
        cut_ink=np.zeros(parts - 1, np.float32) if cut_ink is None else cut_ink,
    )


def _sure(*digits):
    probabilities = np.full((len(digits), 10), 0.001, np.float32)
    probabilities[np.arange(len(digits)), digits] = 0.991
    return probabilities, np.full(len(digits), 0.99, np.float32)


def _by_trying(pieces, probabilities, is_digit):
    """Every way through the lattice as (log probability, number), without dynamic programming."""
    edges = list(zip(pieces.starts.tolist(), pieces.stops.tolist(), strict=True))
    cutting = np.append(-lattice.CUTTING * pieces.cut_ink, 0)

    def ways(node):
        if node == pieces.parts:
            yield 0.0, ""
            return
        steps = [(node + 1, -min(lattice.PASSING * pieces.part_ink[node], lattice.MOST_PASSING), "")]
        for piece, (start, stop) in enumerate(edges):
            if start == node:
                strange = lattice.STRANGER * (1 - is_digit[piece])
                steps.append((stop, np.log(max(strange, lattice.LEAST)), ""))
                for digit in np.argsort(-probabilities[piece])[: lattice.CLASSES_TRIED]:
                    score = np.log(max(probabilities[piece, digit] * is_digit[piece], lattice.LEAST)) + lattice.A_DIGIT
                    score -= lattice.SHORTNESS * max(lattice.TALL_PX - pieces.boxes[piece, 3], 0)
                    steps.append((stop, score, str(digit)))
        for stop, score, text in steps:
            for rest, after in ways(stop):
                yield score + cutting[stop - 1] + rest, text + after

    return list(ways(0))


@settings(max_examples=60, deadline=None)
@given(parts=st.integers(1, 5), seed=st.integers(0, 2**32 - 1), length=st.none() | st.integers(0, 4))
def test_dynamic_programming_finds_what_trying_every_way_finds(parts, seed, length):
    rng = np.random.default_rng(seed)
    edges = [
        edge for edge in itertools.combinations(range(parts + 1), 2) if edge[1] - edge[0] <= 3 and rng.random() < 0.8
    ]
    pieces = _pieces(
        parts, edges,
        part_ink=rng.uniform(0, 60, parts).astype(np.float32),
        cut_ink=rng.uniform(0, 5, parts - 1).astype(np.float32),
        tall=rng.integers(8, 24, (len(edges), 1)),
    )  # fmt: skip
    probabilities = rng.dirichlet(np.full(10, 0.2), len(edges)).astype(np.float32).reshape(-1, 10)
    is_digit = rng.random(len(edges), dtype=np.float32)

    found = readings(pieces, probabilities, is_digit, length=None if length is None else (length, length), count=4)

    best: dict[str, float] = {}
    for score, number in _by_trying(pieces, probabilities, is_digit):
        if length is None or len(number) == length:
            best[number] = max(score, best.get(number, -np.inf))
    expected = sorted(best.values(), reverse=True)[:4]
    assert [reading.log_probability for reading in found] == pytest.approx(expected, abs=1e-4)
    for reading in found:
        assert len(reading.number) == len(reading.pieces)
        assert best[reading.number] == pytest.approx(reading.log_probability, abs=1e-4)


def test_two_digits_are_read_as_two_where_the_whole_is_no_digit():
    probabilities, is_digit = _sure(4, 0, 6)
    is_digit[2] = 0.01  # both together

    found = readings(_pieces(2, [(0, 1), (1, 2), (0, 2)]), probabilities, is_digit)

    assert found[0].number == "40"
    assert found[0].pieces == (0, 1)


def test_a_length_decides_between_one_and_two():
    probabilities, is_digit = _sure(1, 1, 4)
    pieces = _pieces(2, [(0, 1), (1, 2), (0, 2)])

    assert readings(pieces, probabilities, is_digit, length=(2, 2))[0].number == "11"
    assert readings(pieces, probabilities, is_digit, length=(1, 1))[0].number == "4"
    assert readings(pieces, probabilities, is_digit, length=(3, 8)) == []


def test_what_is_no_digit_is_passed_over():
    probabilities, is_digit = _sure(7, 2, 7)
    is_digit[1] = 0.001

    assert readings(_pieces(3, [(0, 1), (1, 2), (2, 3)]), probabilities, is_digit)[0].number == "77"


def test_a_line_without_pieces_is_the_empty_number():
    assert [reading.number for reading in readings(_pieces(1, []), *_sure())] == [""]


def test_alternatives_are_different_numbers_likeliest_first():
    probabilities, is_digit = _sure(1, 3)
    probabilities[0, 7] = 0.4

    found = readings(_pieces(2, [(0, 1), (1, 2)]), probabilities, is_digit, count=3)

    assert [reading.number for reading in found][:2] == ["13", "73"]
    assert len({reading.number for reading in found}) == 3
