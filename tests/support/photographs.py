"""Photograph-like pictures of digits: pen or print on paper in uneven light, of any size and place, saved as JPEG."""

from pathlib import Path

import cv2
import matplotlib
import numpy as np
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from tests.support.drawings import coverage, light

# Fonts that training (training/data/glyphs.py) has never seen.
FONTS = ("cmb10", "DejaVuSansMono-Oblique", "DejaVuSerif-Bold", "DejaVuSans-BoldOblique", "STIXGeneralBolIta")
_FOLDER = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
_FONT_PX = 200
TALL_PX = (60, 260)
TURN_DEG = 8.0


def drawn(digit: int, rng: np.random.Generator) -> np.ndarray:
    """Strokes of a pen: how much of each pixel is ink."""
    return coverage(digit, height=int(rng.integers(*TALL_PX)), pen=rng.uniform(0.05, 0.13))


def printed(digit: int, rng: np.random.Generator) -> np.ndarray:
    """A digit of a font, outlines filled."""
    font = FontProperties(fname=str(_FOLDER / f"{FONTS[rng.integers(len(FONTS))]}.ttf"))
    outlines = TextPath((0, 0), str(digit), size=_FONT_PX, prop=font).to_polygons()
    canvas = np.zeros((2 * _FONT_PX, 2 * _FONT_PX), np.uint8)
    points = [np.rint(np.asarray(each) * (1, -1) + (50, 1.5 * _FONT_PX)).astype(np.int32) for each in outlines]
    cv2.fillPoly(canvas, points, 255, cv2.LINE_AA)
    return _tall(canvas.astype(np.float32) / 255, int(rng.integers(*TALL_PX)))


def written(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A digit of MNIST (28, 28) in [0, 1] as a pen wrote it: enlarged smoothly, its edge sharp again."""
    tall = int(rng.integers(*TALL_PX))
    large = _tall(np.asarray(image, np.float32), tall)
    return np.clip((cv2.GaussianBlur(large, (0, 0), tall / 60) - 0.35) / 0.2, 0, 1)


def photographed(ink: np.ndarray, rng: np.random.Generator) -> bytes:
    """JPEG of dark ink on paper: turned, with a margin, a lamp to one side, a hand's shadow, blur and grain."""
    tall = ink.shape[0]
    margins = [int(rng.uniform(0.15, 1.5) * tall) for _ in range(4)]
    page = np.pad(ink, (margins[:2], margins[2:]))
    height, width = page.shape
    turn = cv2.getRotationMatrix2D((width / 2, height / 2), rng.uniform(-TURN_DEG, TURN_DEG), 1.0)
    page = np.clip(cv2.warpAffine(page, turn, (width, height)), 0, 1)
    lit = light(page.shape, gradient=rng.uniform(0, 0.6), shadow=rng.uniform(0, 0.5))[:, :: int(rng.choice([-1, 1]))]
    grey = rng.uniform(130, 240) * lit * (1 - rng.uniform(0.45, 0.9) * page)
    grey = cv2.GaussianBlur(grey, (0, 0), rng.uniform(0.6, 1.4)) + rng.normal(0, rng.uniform(1, 5), grey.shape)
    shown = np.clip(grey, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 95))])[1].tobytes()


def _tall(ink: np.ndarray, tall: int) -> np.ndarray:
    left, top, width, height = cv2.boundingRect((ink > 0.1).astype(np.uint8))
    cropped = ink[top : top + height, left : left + width]
    size = max(1, round(width * tall / height)), tall
    return np.clip(cv2.resize(cropped, size, interpolation=cv2.INTER_CUBIC if tall > height else cv2.INTER_AREA), 0, 1)
