"""Printed characters from the fonts that Matplotlib and OpenCV carry: digits as positives, letters as what is none."""

from __future__ import annotations

import functools
import string
from dataclasses import dataclass
from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from services.core.noise import Images
from services.core.preprocessing import centred

DIGITS = string.digits
LOOK_ALIKES = "OoQDIilJSsZzBbGgqT"  # some way of writing them is some way of writing a digit
LETTERS = "".join(letter for letter in string.ascii_letters if letter not in LOOK_ALIKES)
TEST_FONTS = ("STIXGeneralItalic", "DejaVuSansMono", "cmtt10", "opencv-4")  # of letters: never trained on
DRAWN_PX = 112
FONT_SIZE = 80

_FONTS = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_MATPLOTLIB = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Italic"),
    *("DejaVuSerifDisplay", "STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "cmr10", "cmss10", "cmtt10"),
)
_OPENCV = {
    "opencv-0": (cv2.FONT_HERSHEY_SIMPLEX, 2),
    "opencv-1": (cv2.FONT_HERSHEY_SIMPLEX, 8),
    "opencv-2": (cv2.FONT_HERSHEY_COMPLEX, 4),
    "opencv-3": (cv2.FONT_HERSHEY_SCRIPT_SIMPLEX, 3),
    "opencv-4": (cv2.FONT_HERSHEY_SCRIPT_COMPLEX, 6),
}


@dataclass(frozen=True, slots=True)
class Glyphs:
    """Pictures as MNIST would show them, and their characters."""

    images: Images
    characters: np.ndarray


@functools.cache
def glyphs(characters: str, *, test: bool | None = None) -> Glyphs:
    """Every character in every font: only those kept for tests, only the others, or all."""
    fonts = [font for font in (*_MATPLOTLIB, *_OPENCV) if test is None or (font in TEST_FONTS) == test]
    drawn = [(_draw(character, font), character) for font in fonts for character in characters]
    return Glyphs(np.stack([image for image, _ in drawn])[..., None], np.array([character for _, character in drawn]))


def _draw(character: str, font: str) -> np.ndarray:
    canvas = np.zeros((2 * DRAWN_PX, 2 * DRAWN_PX), np.uint8)
    if font in _OPENCV:
        face, thickness = _OPENCV[font]
        cv2.putText(canvas, character, (DRAWN_PX // 2, 3 * DRAWN_PX // 2), face, 4.0, 255, thickness, cv2.LINE_AA)
    else:
        path = TextPath((0, 0), character, size=FONT_SIZE, prop=FontProperties(fname=str(_FONTS / f"{font}.ttf")))
        outlines = [(np.asarray(points) * (1, -1) + DRAWN_PX * 0.8).astype(np.int32) for points in path.to_polygons()]
        cv2.fillPoly(canvas, outlines, 255, cv2.LINE_AA)
    left, top, width, height = cv2.boundingRect(canvas)
    return np.minimum(centred(canvas[top : top + height, left : left + width] / np.float32(255)), 1)
