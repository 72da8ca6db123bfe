"""Labelled captures -> corrections.npz: what `make evaluate` reads as a dataset and `make train` mixes in. Pure."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence

import numpy as np

from services.runtime.captures import NO_DIGIT, SIDE_PX, Capture


def npz(labelled: Sequence[Capture]) -> bytes:
    """`x` uint8 (n, 28, 28) and `y` (n,) of digits, and `no_digit` uint8 (m, 28, 28): pictures that show none."""
    digits = [capture for capture in labelled if capture.label not in (None, NO_DIGIT)]
    others = [capture for capture in labelled if capture.label == NO_DIGIT]
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        x=_pixels(digits),
        y=np.array([capture.label for capture in digits], np.int64),
        no_digit=_pixels(others),
    )
    return buffer.getvalue()


def digest(data: bytes) -> str:
    """SHA-256 of the pictures and labels in an npz; dates in the file do not count."""
    seen = hashlib.sha256()
    with np.load(io.BytesIO(data), allow_pickle=False) as file:
        for name in ("x", "y", "no_digit"):
            seen.update(np.ascontiguousarray(file[name]).tobytes())
    return seen.hexdigest()


def _pixels(captures: Sequence[Capture]) -> np.ndarray:
    return np.array([capture.pixels for capture in captures], np.uint8).reshape(-1, SIDE_PX, SIDE_PX)
