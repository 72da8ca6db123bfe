"""The likeliest number on a lattice of pieces: dynamic programming over confidence x is_digit, with the next best.

Nodes are the cuts of a line, from 0 before the first part to n after the last. A piece leads from one cut to another
and may be read as any of ten digits; a part may also be passed over, at a price. A reading is a way from the first
node to the last, its probability the product along the way.
"""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from services.core.lines.segment import Pieces

Ink = NDArray[np.float32]

LEAST = 1e-6  # of a probability
STRANGER = 0.09  # how likely it is, before looking, that a line holds something that is no digit
PASSING = 0.2  # log price of leaving out a pixel of ink
MOST_PASSING = 10.0  # of leaving out a part
CUTTING = 0.25  # log price of cutting through a pixel of ink
CLASSES_TRIED = 3  # of each piece: its most probable digits

# What a piece's height says. The classifier sees every piece at the same size: to it a stroke cut out of a 4 is a 1.
TALL_PX = 17.0  # a digit that is lower pays for every pixel
SHORTNESS = 0.4  # log price of one of them
A_DIGIT = 0.6  # log gain of every digit of the number


@dataclass(frozen=True, slots=True)
class LatticePath:
    """One way through the lattice."""

    number: str
    log_probability: float  # of the whole way, cuts through ink included
    pieces: tuple[int, ...]  # which piece each digit is
    log_unread: float = 0.0  # the part of it that ink costs which is no digit of the number


def readings(
    pieces: Pieces,
    probabilities: Ink,
    is_digit: Ink,
    *,
    length: tuple[int, int] | None = None,
    count: int = 4,
) -> list[LatticePath]:
    """The best `count` different numbers, likeliest first; none if no way has a permitted length.

    `probabilities` (n, 10) and `is_digit` (n,) are the classifier's; `length` is how many digits at least and at most.
    """
    least, most = length or (0, len(pieces))
    counted = length is not None  # numbers are told apart by their length only where it matters
    arriving = _arriving(pieces, probabilities, is_digit)
    passing = (-np.minimum(PASSING * pieces.part_ink, MOST_PASSING)).tolist()
    cutting = [*(-CUTTING * pieces.cut_ink).tolist(), 0.0]
    # best[node][number of digits] holds up to `count` ways, likeliest first
    best: list[dict[int, list[_Way]]] = [{0: [(0.0, "", (), 0.0)]}]
    for node, (over, through) in enumerate(zip(passing, cutting, strict=True), 1):
        found = {digits: _on(ways, over, over + through) for digits, ways in best[node - 1].items()}
        for start, strange, classes in arriving[node]:
            for digits, ways in best[start].items():
                found.setdefault(digits, []).extend(_on(ways, strange, strange + through))
                if counted and digits == most:
                    continue
                into = found.setdefault(digits + 1 if counted else 0, [])
                for score, digit, piece in classes:
                    price = score + through
                    into += [(p + price, number + digit, (*chosen, piece), un) for p, number, chosen, un in ways]
        best.append({digits: _best(ways, count) for digits, ways in found.items()})
    whole = [way for digits, ways in best[-1].items() if not counted or least <= digits for way in ways]
    return [LatticePath(number, probability, chosen, un) for probability, number, chosen, un in _best(whole, count)]


_Way = tuple[float, str, tuple[int, ...], float]  # as a LatticePath: log probability, number, pieces, what is unread
_Piece = tuple[int, float, list[tuple[float, str, int]]]  # start, log price of no digit, what each class adds


def _arriving(pieces: Pieces, probabilities: Ink, is_digit: Ink) -> list[list[_Piece]]:
    """The pieces that end at each node."""
    tall = pieces.boxes[:, 3] - pieces.boxes[:, 1]
    tried = np.argsort(-probabilities, axis=1, kind="stable")[:, :CLASSES_TRIED]
    scores = np.log(np.maximum(np.take_along_axis(probabilities, tried, axis=1) * is_digit[:, np.newaxis], LEAST))
    scores += (A_DIGIT - SHORTNESS * np.maximum(TALL_PX - tall, 0))[:, np.newaxis]
    strange = np.log(np.maximum(STRANGER * (1 - is_digit), LEAST))
    arriving: list[list[_Piece]] = [[] for _ in range(pieces.parts + 1)]
    columns = (each.tolist() for each in (pieces.starts, pieces.stops, strange, scores, tried))
    for piece, (start, stop, price, gains, digits) in enumerate(zip(*columns, strict=True)):
        classes = [(gain, str(digit), piece) for gain, digit in zip(gains, digits, strict=True)]
        arriving[stop].append((start, price, classes))
    return arriving


def _on(ways: list[_Way], unread: float, price: float) -> list[_Way]:
    """Ways that go on without a digit more."""
    return [(p + price, number, chosen, un + unread) for p, number, chosen, un in ways]


def _best(ways: list[_Way], count: int) -> list[_Way]:
    """The likeliest numbers, each with its likeliest way."""
    likeliest: dict[str, _Way] = {}
    for way in sorted(ways, key=_probability, reverse=True):
        if way[1] not in likeliest:
            likeliest[way[1]] = way
            if len(likeliest) == count:
                break
    return list(likeliest.values())


_probability = itemgetter(0)
