"""Digits drawn from strokes, shifted and thickened at random: a data set without a file, the same every time."""

import numpy as np

# Seven segments, as on a pocket calculator: (from, to) in a box of 2 x 4.
SEGMENTS = {
    "top": ((0, 0), (2, 0)),
    "top left": ((0, 0), (0, 2)),
    "top right": ((2, 0), (2, 2)),
    "middle": ((0, 2), (2, 2)),
    "bottom left": ((0, 2), (0, 4)),
    "bottom right": ((2, 2), (2, 4)),
    "bottom": ((0, 4), (2, 4)),
}
SHAPES = (
    ("top", "top left", "top right", "bottom left", "bottom right", "bottom"),
    ("top right", "bottom right"),
    ("top", "top right", "middle", "bottom left", "bottom"),
    ("top", "top right", "middle", "bottom right", "bottom"),
    ("top left", "top right", "middle", "bottom right"),
    ("top", "top left", "middle", "bottom right", "bottom"),
    ("top", "top left", "middle", "bottom left", "bottom right", "bottom"),
    ("top", "top right", "bottom right"),
    tuple(SEGMENTS),
    ("top", "top left", "top right", "middle", "bottom right", "bottom"),
)


def draw_digits(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """uint8 pictures `(n, 28, 28)`, white on black, of the digits in `labels`."""
    row, column = np.mgrid[:28, :28].astype(np.float32)
    pictures = np.zeros((len(labels), 28, 28), np.float32)
    for picture, label in zip(pictures, labels, strict=True):
        left, top = 9 + rng.uniform(-3, 3), 5 + rng.uniform(-2, 2)
        size, half_width = rng.uniform(3.8, 4.8), rng.uniform(0.8, 1.8)
        for name in SHAPES[label]:
            (x0, y0), (x1, y1) = ((left + x * size, top + y * size) for x, y in SEGMENTS[name])
            distance = np.hypot(
                column - np.clip(column, min(x0, x1), max(x0, x1)), row - np.clip(row, min(y0, y1), max(y0, y1))
            )
            np.maximum(picture, np.clip(half_width + 0.5 - distance, 0, 1), out=picture)
    return np.rint(255 * pictures).astype(np.uint8)


def synthetic_mnist(*, train: int = 1024, test: int = 256, seed: int = 0) -> dict[str, np.ndarray]:
    """Four arrays in the layout of mnist.npz."""
    rng = np.random.default_rng(seed)
    labels = {"train": rng.integers(0, 10, train).astype(np.uint8), "test": rng.integers(0, 10, test).astype(np.uint8)}
    return {
        name: values
        for part in labels
        for name, values in ((f"x_{part}", draw_digits(labels[part], rng)), (f"y_{part}", labels[part]))
    }
