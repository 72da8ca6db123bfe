"""How noisy is each picture, and which of them can do without the denoiser? For `denoise=auto`.

The estimate of the noise is Immerkaer's (1996): a kernel that a smooth surface and a straight edge both answer with 0,
second difference across times second difference down, leaves noise alone; its mean size is the noise's standard
deviation up to a constant. It says nothing of a blurred, striped or partly hidden picture. Those give themselves away
by what every picture made the MNIST way has: full ink, 20 pixels of it on its longer side, its centre of mass in the
middle, and few places where full ink ends at nothing, without a half-covered pixel in between. A digit that is as clean
and only out of place is better read as it is: near the edge of the picture the denoiser sees too little of it. It is
told from one that is partly hidden by ink in the outermost row or column: a move brings it there, hiding does not.
"""

from __future__ import annotations

import numpy as np

QUIET = 0.055  # estimated noise; 99 % of clean digits stay below 0.054
OFF_CENTRE_PX = 0.52  # MNIST moves digits by whole pixels: half a pixel remains, and a rounding error
BOX_PX = (19, 20)  # longer side of the ink
MOVED_PX = 2.4  # centre of a digit that is out of place, towards the edge that it reaches
MOVED_INK = 50  # sum of its pixels; less is mostly what is left of a digit half hidden
ABRUPT_ENDS = 4  # neighbours of full ink and none; half of all clean digits have more, most cut ones do
FULL, NONE = 0.95, 0.01
INK = 0.1  # what a row or column must add up to, to hold ink

_SIDE = 28
_MIDDLE = np.float32(_SIDE / 2)
_TO_SIGMA = np.float32(np.sqrt(np.pi / 2) / 6)
_PLACES = np.arange(_SIDE, dtype=np.float32)


def estimate(images: np.ndarray) -> np.ndarray:
    """The standard deviation of the noise in each of (n, 28, 28, 1) images in [0, 1]: float32 (n,)."""
    pictures = images[..., 0]
    down = pictures[:, :-2] - 2 * pictures[:, 1:-1] + pictures[:, 2:]
    across = down[:, :, :-2] - 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return np.abs(across).mean(axis=(1, 2)) * _TO_SIGMA


def worth_denoising(images: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Which pictures, of these estimated noise levels, should go through the denoiser: bool (n,).

    All but those that show no sign of harm: `make denoise-auto` shows what that costs and saves.
    """
    pictures = images[..., 0]
    rows, columns = pictures.sum(axis=2), pictures.sum(axis=1)
    (down, height), (across, width) = _extent(rows), _extent(columns)
    longer = np.maximum(height, width)
    off_centre = np.maximum(np.abs(down), np.abs(across))
    quiet = (levels <= QUIET) & (longer <= BOX_PX[1]) & (pictures.max(axis=(1, 2)) >= FULL)
    unharmed = (off_centre <= OFF_CENTRE_PX) & (longer >= BOX_PX[0]) & (_abrupt_ends(pictures) <= ABRUPT_ENDS)
    moved = (_moved_to_an_edge(rows, down) | _moved_to_an_edge(columns, across)) & (rows.sum(axis=1) >= MOVED_INK)
    return ~(quiet & (unharmed | moved))


def _abrupt_ends(pictures: np.ndarray) -> np.ndarray:
    """How many neighbours, one above or beside the other, are full ink and none."""
    full, none = pictures >= FULL, pictures <= NONE
    down = (full[:, :-1] & none[:, 1:]) | (none[:, :-1] & full[:, 1:])
    across = (full[:, :, :-1] & none[:, :, 1:]) | (none[:, :, :-1] & full[:, :, 1:])
    return np.count_nonzero(down, axis=(1, 2)) + np.count_nonzero(across, axis=(1, 2))


def _extent(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of sums over rows or columns (n, 28): how far their centre is past the middle, and the length of their ink."""
    total = np.maximum(sums.sum(axis=1), np.float32(1e-6))
    inked = sums > INK
    length = _SIDE - inked.argmax(axis=1) - inked[:, ::-1].argmax(axis=1)
    return sums @ _PLACES / total - _MIDDLE, length


def _moved_to_an_edge(sums: np.ndarray, past_middle: np.ndarray) -> np.ndarray:
    """Whether the ink is far from the middle and reaches the edge of the picture on that side: bool (n,)."""
    outermost = np.where(past_middle < 0, sums[:, 0], sums[:, -1])
    return (np.abs(past_middle) > MOVED_PX) & (outermost > INK)
