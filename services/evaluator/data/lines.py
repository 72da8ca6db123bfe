"""Lines of digits made from single ones: pictures with the number they show, the same for the same seed.

Digits keep MNIST's grid (20 px tall, give or take the jitter), white on black, so that noise of a level means the same
as on a single digit. What surrounds them is the recipe's: gaps from touching to wide, slant, jitter of size and
baseline, a form's boxes or ruled line, letters and scribbles between the digits.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from services.core.noise import Images
from services.evaluator.errors import DatasetError

Ink = NDArray[Any]  # float32 in [0, 1]; OpenCV's stubs promise no type
Form = Literal["none", "boxes", "ruled"]

MARGIN_PX = (5, 12)  # of paper around the line
LETTERS = "ABCDEFGHJKLMNPRTUVWXYabdefhkmnprtwxy"  # without those that are digits to the eye: O I l o Q S Z s z g q i
LETTER_SHARE = 0.3  # of the gaps of a line with letters; half of them scribbles
BOX_PX = 30  # inner width of a form's box; its height follows the tallest digit
INK_LEAST = 0.1
_FONTS = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX, cv2.FONT_HERSHEY_SCRIPT_SIMPLEX)


@dataclass(frozen=True, slots=True, kw_only=True)
class LineRecipe:
    """How lines of one kind are made; ranges are drawn from evenly, once per line or once per digit."""

    digits: tuple[int, int] = (5, 5)  # of a line
    gap_px: tuple[int, int] = (3, 12)  # between the boxes of two digits; below 0 they overlap
    slant: float = 0.25  # most of a line's shear, either way
    size: float = 0.1  # most of a digit's departure from its size, as a share
    baseline_px: float = 2.0  # most of a digit's departure from the line
    skew_degrees: float = 0.0  # most of a line's turn, either way
    form: Form = "none"
    letters: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """One clean picture, float32 (height, width) in [0, 1], and the number it shows."""

    picture: Ink
    number: str


def make(
    recipe: LineRecipe, images: Images, labels: NDArray[np.int64], count: int, rng: np.random.Generator
) -> list[Line]:
    """`count` lines of digits drawn from `images` (n, 28, 28, 1)."""
    return [_line(recipe, images, labels, rng) for _ in range(count)]


def _line(recipe: LineRecipe, images: Images, labels: NDArray[np.int64], rng: np.random.Generator) -> Line:
    chosen = rng.integers(len(labels), size=rng.integers(recipe.digits[0], recipe.digits[1] + 1))
    shear = rng.uniform(-recipe.slant, recipe.slant)
    glyphs: list[tuple[Ink, float]] = []  # with the move from the middle of the line
    for place, index in enumerate(chosen):
        if recipe.letters and place and rng.random() < LETTER_SHARE:
            glyphs.append((_slanted(_stranger(rng), shear), _move(recipe, rng)))
        scale = 1 + rng.uniform(-recipe.size, recipe.size)
        glyphs.append((_slanted(_scaled(images[index, ..., 0], scale), shear), _move(recipe, rng)))
    if recipe.letters and len(glyphs) == len(chosen):
        glyphs.insert(int(rng.integers(1, len(glyphs) + 1)), (_slanted(_stranger(rng), shear), _move(recipe, rng)))
    picture = _in_boxes(glyphs, rng) if recipe.form == "boxes" else _in_a_row(glyphs, recipe, rng)
    if recipe.skew_degrees:
        picture = _turned(picture, rng.uniform(-recipe.skew_degrees, recipe.skew_degrees))
    return Line(np.clip(picture, 0, 1), "".join(str(labels[index]) for index in chosen))


def _move(recipe: LineRecipe, rng: np.random.Generator) -> float:
    return float(rng.uniform(-recipe.baseline_px, recipe.baseline_px))


def _in_a_row(glyphs: list[tuple[Ink, float]], recipe: LineRecipe, rng: np.random.Generator) -> Ink:
    gaps = rng.integers(recipe.gap_px[0], recipe.gap_px[1] + 1, size=len(glyphs))
    lefts: list[int] = []
    right = int(rng.integers(*MARGIN_PX, endpoint=True))
    for (glyph, _), gap in zip(glyphs, gaps, strict=True):
        left = right + (int(gap) if lefts else 0)
        lefts.append(left)
        right = left + glyph.shape[1]
    top, bottom = rng.integers(*MARGIN_PX, size=2, endpoint=True)
    reach = max(glyph.shape[0] / 2 + abs(move) for glyph, move in glyphs)
    middle = top + reach
    picture = np.zeros(
        (round(middle + reach) + bottom, right + int(rng.integers(*MARGIN_PX, endpoint=True))), np.float32
    )
    for (glyph, move), left in zip(glyphs, lefts, strict=True):
        _put(picture, glyph, left, middle + move)
    if recipe.form == "ruled":
        base = min(round(middle + reach) + int(rng.integers(-1, 3)), len(picture) - 2)
        picture[base : base + int(rng.integers(1, 3))] = rng.uniform(0.6, 1.0)
    return picture


def _in_boxes(glyphs: list[tuple[Ink, float]], rng: np.random.Generator) -> Ink:
    """Each digit in a box of its own; neighbours share a wall."""
    reach = max(glyph.shape[0] / 2 + abs(move) for glyph, move in glyphs)
    height = round(2 * reach) + int(rng.integers(4, 9))
    margin, wall = int(rng.integers(*MARGIN_PX, endpoint=True)), int(rng.integers(1, 3))
    pitch = BOX_PX + wall
    picture = np.zeros((2 * margin + height + 2 * wall, 2 * margin + len(glyphs) * pitch + wall), np.float32)
    strength = np.float32(rng.uniform(0.6, 1.0))
    rows, columns = np.s_[margin : margin + height + 2 * wall], np.s_[margin : margin + len(glyphs) * pitch + wall]
    for place in range(len(glyphs) + 1):
        picture[rows, margin + place * pitch : margin + place * pitch + wall] = strength
    picture[margin : margin + wall, columns] = strength
    picture[margin + wall + height : margin + height + 2 * wall, columns] = strength
    for place, (glyph, move) in enumerate(glyphs):
        spare = max(BOX_PX - glyph.shape[1] - 2, 0)
        left = margin + wall + place * pitch + 1 + int(rng.integers(0, spare + 1))
        _put(picture, glyph, left, margin + wall + height / 2 + move)
    return picture


def _put(picture: Ink, glyph: Ink, left: int, middle: float) -> None:
    top = min(max(round(middle - glyph.shape[0] / 2), 0), len(picture) - len(glyph))
    place = picture[top : top + glyph.shape[0], left : left + glyph.shape[1]]
    np.maximum(place, glyph[:, : place.shape[1]], out=place)


def _cropped(picture: Ink) -> Ink:
    left, top, width, height = cv2.boundingRect((picture > INK_LEAST).astype(np.uint8))
    return picture[top : top + height, left : left + width]


def _scaled(digit: Ink, scale: float) -> Ink:
    return _cropped(cv2.resize(digit, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR))


def _slanted(glyph: Ink, shear: float) -> Ink:
    height, width = glyph.shape
    aside = round(abs(shear) * height) + 1
    matrix = np.array([[1, -shear, aside + shear * height / 2], [0, 1, 0]], np.float32)
    return _cropped(cv2.warpAffine(glyph, matrix, (width + 2 * aside, height), flags=cv2.INTER_LINEAR))


def _stranger(rng: np.random.Generator) -> Ink:
    """A letter or a scribble, as tall as a digit and with a stroke as wide."""
    canvas = np.zeros((160, 160), np.uint8)
    if rng.random() < 0.5:
        letter, font = LETTERS[rng.integers(len(LETTERS))], _FONTS[rng.integers(len(_FONTS))]
        cv2.putText(canvas, letter, (40, 110), font, 3.0, 255, int(rng.integers(8, 14)), cv2.LINE_AA)
    else:
        corners = rng.integers(20, 140, size=(rng.integers(5, 9), 1, 2)).astype(np.int32)
        cv2.polylines(canvas, [corners], False, 255, int(rng.integers(9, 15)), cv2.LINE_AA)
    ink = _cropped(canvas.astype(np.float32) / 255)
    scale = 20 * rng.uniform(0.85, 1.1) / max(ink.shape)
    return cv2.resize(ink, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)


def _turned(picture: Ink, degrees: float) -> Ink:
    """Turned about its middle, on paper large enough for it."""
    height, width = picture.shape
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    turned_width, turned_height = round(height * sine + width * cosine), round(height * cosine + width * sine)
    matrix[:, 2] += (turned_width - width) / 2, (turned_height - height) / 2
    return cv2.warpAffine(picture, matrix, (turned_width, turned_height), flags=cv2.INTER_LINEAR)


def read_folder(folder: Path) -> list[tuple[Path, str]]:
    """Pictures and their numbers from `folder/labels.csv`: a line for each, file,number; a heading is passed over."""
    labels = folder / "labels.csv"
    try:
        with labels.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeError, csv.Error) as exc:
        raise DatasetError(f"cannot read {labels}: {exc}") from exc
    if rows and not (folder / rows[0][0]).is_file():
        rows = rows[1:]
    found = []
    for row in rows:
        if len(row) < 2 or not (row[1].isascii() and row[1].isdecimal()):
            raise DatasetError(f"{labels}: {','.join(row)[:60]!r} is not a file and its number")
        if not (folder / row[0]).is_file():
            raise DatasetError(f"{labels} names {row[0]}, which is not there")
        found.append((folder / row[0], row[1]))
    if not found:
        raise DatasetError(f"{labels} names no pictures")
    return found
