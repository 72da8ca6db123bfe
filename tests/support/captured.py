"""Captured pictures, made up."""

import numpy as np

from services.runtime.captures import Capture


def capture(
    request_id: str = "a",
    position: int = 0,
    *,
    at_s: float = 1000.0,
    confidence: float = 0.5,
    is_digit: float | None = 1.0,
    pixels: np.ndarray | None = None,
) -> Capture:
    """One rejected reading of a 4; a grey square where no pixels are given."""
    picture = np.full((28, 28), 7, np.uint8) if pixels is None else pixels
    return Capture(
        request_id=request_id,
        position=position,
        at_s=at_s,
        picture=picture.tobytes(),
        digit=4,
        confidence=confidence,
        is_digit=is_digit,
        accepted=False,
        denoiser=2,
        classifier=2,
    )
