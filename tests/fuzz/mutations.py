"""Bytes -> other bytes: what a hostile or broken sender makes of an honest message. The same seed, the same bytes."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x06FFFFFF)
WORDS = (
    b"\r\n",
    b"\0",
    b"%0a",
    b"-1",
    b"1e999",
    b"NaN",
    b"9" * 30,
    b"[" * 40,
    b"{}",
    b"\xff\xfe",
    b"True",
    b"..",
    b"(",
)
MOST_GROWTH = 4096


def mutated(data: bytes, rng: random.Random, *, others: Sequence[bytes] = ()) -> bytes:
    """One to four changes in a row; `others` are spliced in."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        rng.choice(_CHANGES)(found, rng)
        if others and rng.random() < 0.1:
            other = rng.choice(others)
            at, start = rng.randint(0, len(found)), rng.randint(0, len(other))
            found[at:at] = other[start : start + MOST_GROWTH]
    return bytes(found)


def _flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 64))):
        if data:
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def _number(data: bytearray, rng: random.Random) -> None:
    """A length or a size somewhere becomes an awkward one."""
    width, order = rng.choice((1, 2, 4)), rng.choice(("big", "little"))
    at = rng.randrange(len(data) + 1)
    value = rng.choice(NUMBERS) & (256**width - 1)
    data[at : at + width] = value.to_bytes(width, "big" if order == "big" else "little")


def _cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data) + 1) :]


def _remove(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    del data[at : at + rng.choice((1, 4, 64, 1024))]


def _repeat(data: bytearray, rng: random.Random) -> None:
    at, length = rng.randrange(len(data) + 1), rng.choice((1, 12, 100))
    data[at:at] = (bytes(data[at : at + length]) * rng.choice((1, 2, 40)))[:MOST_GROWTH]


def _word(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at:at] = rng.choice(WORDS)


def _noise(data: bytearray, rng: random.Random) -> None:
    at = rng.randrange(len(data) + 1)
    data[at : at + rng.choice((0, 8))] = rng.randbytes(rng.choice((1, 8, 100)))


_CHANGES: tuple[Callable[[bytearray, random.Random], None], ...] = (
    _flip,
    _flip,
    _number,
    _number,
    _cut,
    _remove,
    _repeat,
    _word,
    _noise,
)
