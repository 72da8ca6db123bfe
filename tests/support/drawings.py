"""Digits drawn by hand, as strokes: on a canvas, and with a pen on paper under bad light."""

import cv2
import numpy as np

# Points of the strokes in a box of 100 x 140, x to the right, y down; curves are close points.
_ARC = np.linspace(0, 2 * np.pi, 40)


def _ellipse(
    x: float, y: float, across: float, down: float, start: float = 0.0, turn: float = 1.0
) -> list[tuple[float, float]]:
    angles = start + turn * _ARC
    return [(x + across * np.sin(angle), y - down * np.cos(angle)) for angle in angles]


STROKES: dict[int, list[list[tuple[float, float]]]] = {
    0: [_ellipse(50, 70, 36, 62)],
    1: [[(52, 8), (48, 132)]],
    2: [[*_ellipse(48, 42, 32, 34, start=-1.2, turn=0.55), (14, 128), (88, 126)]],
    3: [_ellipse(46, 40, 30, 32, start=-1.0, turn=0.62) + _ellipse(46, 100, 34, 32, start=0.1, turn=0.62)],
    4: [[(58, 8), (12, 88), (90, 86)], [(66, 52), (62, 134)]],
    5: [[(84, 10), (30, 12), (26, 62), *_ellipse(48, 92, 34, 36, start=-0.7, turn=0.72)]],
    6: [[(70, 8), (40, 40), (20, 86), *_ellipse(48, 98, 29, 33, start=-1.5, turn=-1.0)]],
    7: [[(14, 14), (86, 12), (42, 132)]],
    8: [_ellipse(50, 38, 26, 30, start=np.pi, turn=1.0) + _ellipse(50, 101, 32, 33, start=0.0, turn=-1.0)],
    9: [[*_ellipse(48, 42, 30, 33, start=1.5, turn=1.0), (78, 42), (70, 132)]],
}


def coverage(digit: int, *, height: int, pen: float) -> np.ndarray:
    """How much ink lies on each pixel, 0 to 1, around a digit of `height` pixels; `pen` is a share of the height."""
    scale = height / 140
    width = max(1, round(pen * height))
    margin = width // 2 + 2
    page = np.zeros((height + 2 * margin, round(100 * scale) + 2 * margin), np.uint8)
    for stroke in STROKES[digit]:
        points = np.rint((np.array(stroke) * scale + margin) * 16).astype(np.int32)
        cv2.polylines(page, [points], False, 255, width, cv2.LINE_AA, shift=4)
    return page.astype(np.float32) / 255


def placed(ink: np.ndarray, shape: tuple[int, int], *, top: float = 0.5, left: float = 0.5) -> np.ndarray:
    """The ink on an empty page, at shares of the room that is left."""
    page = np.zeros(shape, np.float32)
    y, x = (int(share * (room - size)) for share, room, size in zip((top, left), shape, ink.shape, strict=True))
    page[y : y + ink.shape[0], x : x + ink.shape[1]] = ink
    return page


def in_mnist_frame(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 pictures `(n, 28, 28)`, white on black, about 20 pixels tall, in the middle, slanted, thin and thick."""
    pictures = np.zeros((len(labels), 28, 28), np.float32)
    for picture, label in zip(pictures, labels.tolist(), strict=True):
        ink = coverage(label, height=int(rng.integers(17, 21)), pen=rng.uniform(0.08, 0.16))
        slant, middle = rng.uniform(-0.25, 0.25), (np.array(ink.shape)[::-1] - 1) / 2
        moved = 13.5 - middle + rng.uniform(-1, 1, 2) - (slant * middle[1], 0)
        picture[...] = cv2.warpAffine(ink, np.array([[1, slant, moved[0]], [0, 1, moved[1]]]), (28, 28))
    return np.rint(255 * np.clip(pictures, 0, 1)).astype(np.uint8)


def hollow(pictures: np.ndarray) -> np.ndarray:
    """What a stencil leaves: the outline of each stroke, no ink inside."""
    full = np.where(pictures > 100, 255, 0).astype(np.uint8)
    return np.stack([cv2.dilate(picture, np.ones((3, 3), np.uint8)) - picture for picture in full])


def on_canvas(digit: int, *, height: int = 200, pen: float = 0.09, **place: float) -> np.ndarray:
    """Black on white, 280 x 280: what drawing pages send."""
    return np.rint(255 * (1 - placed(coverage(digit, height=height, pen=pen), (280, 280), **place))).astype(np.uint8)


def light(shape: tuple[int, int], *, gradient: float = 0.4, shadow: float = 0.4) -> np.ndarray:
    """Lamp light from one side, and the soft-edged shadow of a hand over a corner; 1 is the brightest."""
    height, width = shape
    falloff = 1 - gradient * np.linspace(0, 1, width, dtype=np.float32)[None, :]
    cast = np.zeros(shape, np.float32)
    corners = np.array([(0, 0), (0.62 * width, 0), (0.35 * width, height), (0, height)], np.int32)
    cv2.fillPoly(cast, [corners], 1.0)
    return falloff * (1 - shadow * cv2.GaussianBlur(cast, (0, 0), 6))


def on_paper(
    digit: int, rng: np.random.Generator, *, height: int = 240, pen: float = 0.05, ruled: bool = False, **place: float
) -> np.ndarray:
    """A 640 x 480 photo in BGR: dark pen on grey paper, uneven light, a shadow, sensor noise."""
    shape = (480, 640)
    paper = np.ones(shape, np.float32)
    if ruled:
        paper[20::48] = paper[21::48] = 0.85
    ink = placed(coverage(digit, height=height, pen=pen), shape, **place)
    grey = 205 * light(shape) * paper * (1 - 0.75 * ink)
    grey = cv2.GaussianBlur(grey, (0, 0), 1.0) + rng.normal(0, 4, shape)
    return cv2.cvtColor(np.clip(grey, 0, 255).astype(np.uint8), cv2.COLOR_GRAY2BGR)
