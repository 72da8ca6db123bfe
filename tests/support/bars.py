"""Numbers that a fake classifier can read: a digit is a bar, wider for higher digits."""

from typing import Any

import cv2
import numpy as np

from services.core.images import encode_png
from tests.support.fakes import FakeModel

NARROWEST_PX = 3


def line(number: str, *, gap_px: int = 10, height: int = 40) -> np.ndarray:
    """uint8 (height, width): a bar for each digit of `number`, 20 px tall, in the middle."""
    bars = [np.full((20, int(digit) + NARROWEST_PX), 255, np.uint8) for digit in number]
    gap = np.zeros((20, gap_px), np.uint8)
    middle = np.concatenate([gap, *(part for bar in bars for part in (bar, gap))], axis=1)
    return np.pad(middle, ((height // 2 - 10, height - height // 2 - 10), (0, 0)))


def png(number: str, **options: Any) -> bytes:
    """The same as a file."""
    return encode_png(line(number, **options)[..., np.newaxis] / np.float32(255))


def bar_classifier(**options: Any) -> FakeModel:
    """Reads bars; two of them are no digit."""
    return FakeModel(
        _probabilities, more=lambda images: {"is_digit": _is_digit(images)}, **{"name": "classifier", **options}
    )


def _probabilities(images: np.ndarray) -> np.ndarray:
    digits = np.clip((images[..., 0].max(axis=1) > 0.5).sum(axis=1) - NARROWEST_PX, 0, 9)
    probabilities = np.full((len(images), 10), 0.001, np.float32)
    probabilities[np.arange(len(images)), digits] = 0.991
    return probabilities


def _is_digit(images: np.ndarray) -> np.ndarray:
    pieces = [cv2.connectedComponents((image[..., 0] > 0.5).astype(np.uint8))[0] - 1 for image in images]
    return np.where(np.array(pieces, int) == 1, 0.99, 0.01).astype(np.float32)
