"""The number on a strip, told with what it rests on: each digit's box, certainty, and the next best numbers."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.core.lines import lattice
from services.core.lines.segment import Pieces

LEAST_IS_DIGIT = 0.75  # of each digit of an accepted number: what is less may be a letter, wrong in any number
ALTERNATIVES = 3  # told beside the number

MOST_DIGITS = 40  # of one line; a strip holds no more

Length = tuple[int, int]  # how many digits at least and at most

_LENGTH = re.compile(r"([0-9]{1,3})(?:-([0-9]{1,3}))?")


@dataclass(frozen=True, slots=True)
class Digit:
    """One digit of a number; its box is left, top, right, bottom on the strip."""

    digit: int
    confidence: float
    is_digit: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Number:
    """A reading of a line. Of those with a `confidence` of 0.9 at least 90 % are right, but for crossed-out lines."""

    number: str
    confidence: float
    digits: tuple[Digit, ...] = ()
    alternatives: tuple[tuple[str, float], ...] = ()  # with their probability beside the number's

    def sure(self, min_confidence: float) -> bool:
        """Whether it is a number at all, as certain as asked for, and none of its digits is likely something else."""
        strangers = any(each.is_digit < LEAST_IS_DIGIT for each in self.digits)
        return bool(self.number) and self.confidence >= min_confidence and not strangers


NOTHING = Number("", 0.0)


def length_of(text: str) -> Length | None:
    """What `5` or `3-8` asks for; None where it is neither, or more than a line holds."""
    if (match := _LENGTH.fullmatch(text)) is None:
        return None
    least = int(match[1])
    most = int(match[2] or match[1])
    return (least, most) if 1 <= least <= most <= MOST_DIGITS else None


def number_of(
    pieces: Pieces, probabilities: NDArray[Any], is_digit: NDArray[Any], *, length: Length | None = None
) -> Number:
    """The likeliest number on a strip; NOTHING where there is no digit, or no number of that length."""
    found = lattice.readings(pieces, probabilities, is_digit, length=length, count=ALTERNATIVES + 1)
    if not found or not found[0].number:
        return NOTHING
    best = found[0]
    digits = tuple(
        Digit(
            int(digit),
            float(probabilities[piece, int(digit)]),
            float(is_digit[piece]),
            tuple(pieces.boxes[piece].tolist()),
        )
        for digit, piece in zip(best.number, best.pieces, strict=True)
    )
    shares = np.exp([way.log_probability - best.log_probability for way in found])
    shares /= shares.sum()
    # Two views of the same doubt, neither of which knows it all: what the classifier leaves of each digit, and what the
    # rivals, other cuts among them, leave of the number. Lines are misread as often as their geometric mean, or less.
    by_digits = 1 - math.prod(each.confidence * each.is_digit for each in digits)
    by_rivals = 1 - float(shares[0])
    return Number(
        number=best.number,
        confidence=math.exp(best.log_unread) * (1 - math.sqrt(max(by_digits * by_rivals, 0.0))),
        digits=digits,
        alternatives=tuple((way.number, float(share)) for way, share in zip(found[1:], shares[1:], strict=True)),
    )
