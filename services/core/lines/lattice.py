"""The likeliest number on a lattice of pieces: dynamic programming over confidence x is_digit, with the next best.

Nodes are the cuts of a line, from 0 before the first part to n after the last. A piece leads from one cut to another
and may be read as any of ten digits; a part may also be passed over, at a price. A reading is a way from the first
node to the last, its probability the product along the way.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

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
class Reading:
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
) -> list[Reading]:
    """The best `count` different numbers, likeliest first; none if no way has a permitted length.

    `probabilities` (n, 10) and `is_digit` (n,) are the classifier's; `length` is how many digits at least and at most.
    """
    parts, starts, stops = pieces.parts, pieces.starts, pieces.stops
    passing = -np.minimum(PASSING * pieces.part_ink, MOST_PASSING)
    cutting = np.append(-CUTTING * pieces.cut_ink, 0.0)
    least, most = length or (0, len(starts))
    scores = np.log(np.maximum(probabilities * is_digit[:, np.newaxis], LEAST))
    short = np.maximum(TALL_PX - (pieces.boxes[:, 3] - pieces.boxes[:, 1]), 0)
    scores += A_DIGIT - SHORTNESS * short[:, np.newaxis]
    strange = np.log(np.maximum(STRANGER * (1 - is_digit), LEAST))
    order = np.argsort(-scores, axis=1, kind="stable")[:, :CLASSES_TRIED]
    arriving: list[list[int]] = [[] for _ in range(parts + 1)]
    for piece, stop in enumerate(stops):
        arriving[stop].append(piece)
    # best[node][number of digits] holds up to `count` (log probability, number, pieces); lengths only where they matter
    counted = length is not None
    best: list[dict[int, list[Reading]]] = [{0: [Reading("", 0.0, ())]}]
    for node in range(1, parts + 1):
        found: dict[int, list[Reading]] = {}
        price = float(passing[node - 1])
        for digits, ways in best[node - 1].items():
            found.setdefault(digits, []).extend(
                Reading(way.number, way.log_probability + price, way.pieces, way.log_unread + price) for way in ways
            )
        for piece in arriving[node]:
            price = float(strange[piece])
            for digits, ways in best[starts[piece]].items():
                found.setdefault(digits, []).extend(
                    Reading(way.number, way.log_probability + price, way.pieces, way.log_unread + price) for way in ways
                )
                if counted and digits == most:
                    continue
                into = found.setdefault(digits + 1 if counted else 0, [])
                for digit in order[piece]:
                    score = float(scores[piece, digit])
                    into.extend(
                        Reading(
                            f"{way.number}{digit}", way.log_probability + score, (*way.pieces, piece), way.log_unread
                        )
                        for way in ways
                    )
        price = float(cutting[node - 1])
        best.append({digits: _best(ways, count, price) for digits, ways in found.items()})
    whole = [way for digits, ways in best[parts].items() if not counted or least <= digits for way in ways]
    return _best(whole, count)


def _best(ways: list[Reading], count: int, price: float = 0.0) -> list[Reading]:
    """The likeliest of each number, then the likeliest numbers; all at the price of the cut they end in."""
    likeliest: dict[str, Reading] = {}
    for way in ways:
        known = likeliest.get(way.number)
        if known is None or way.log_probability > known.log_probability:
            likeliest[way.number] = way
    ways = heapq.nlargest(count, likeliest.values(), key=lambda way: way.log_probability)
    if not price:
        return ways
    return [Reading(way.number, way.log_probability + price, way.pieces, way.log_unread) for way in ways]
