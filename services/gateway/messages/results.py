"""The results in an answer: arrays -> JSON, one object an image. Pure: a process of its own writes the large ones."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import orjson

from services.core.errors import TooLargeError
from services.core.images import encode_png
from services.core.preprocessing import to_unit
from services.gateway.messages.options import Options

# Bytes of JSON that one image may come to: plain, and for each thing that is asked for beside it
_PLAIN_BYTES, _PROBABILITIES_BYTES, _TOP_BYTES, _PICTURE_BYTES = 150, 130, 45, 1300


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """What there is to say of n images; row i of every array belongs to image i."""

    digits: np.ndarray  # (n,) int
    confidences: np.ndarray  # (n,)
    applied: np.ndarray  # (n,) bool: was the image denoised?
    scores: np.ndarray  # (n, 10)
    accepted: np.ndarray  # (n,) bool: is the classifier sure enough?
    is_digit: np.ndarray | None = None  # (n,), from classifiers that tell
    noise_levels: np.ndarray | None = None  # (n,)
    images: np.ndarray | None = None  # (n, 28, 28, 1), where they are asked for
    denoised: Sequence[np.ndarray] = ()  # the same, in slices
    hint: str | None = None  # for the first, where it stands alone

    def present(self) -> dict[str, np.ndarray]:
        """The arrays that are there, by name, without the denoised pictures."""
        return {
            field.name: value for field in fields(self) if isinstance(value := getattr(self, field.name), np.ndarray)
        }


def check_size(count: int, options: Options, *, max_bytes: int) -> None:
    """Refuse an answer that may come to more than `max_bytes`, before anything is computed for it."""
    each = _PLAIN_BYTES + _TOP_BYTES * options.top_k
    each += _PROBABILITIES_BYTES * ("probabilities" in options.include)
    each += _PICTURE_BYTES * len(options.include & {"input", "denoised"})
    if count * each > max_bytes:
        raise TooLargeError(
            f"an answer of {count} images with what is asked for; at most {max_bytes // each} of them fit: send fewer,"
            " or include less"
        )


def results_json(columns: Columns, options: Options) -> bytes:
    """The list of results."""
    rows = zip(
        columns.digits.tolist(),
        _rounded(columns.confidences, 6),
        columns.accepted.tolist(),
        columns.applied.tolist(),
        strict=True,
    )
    results: list[dict[str, object]] = [
        {
            "index": index,
            "digit": digit,
            "confidence": confidence,
            "accepted": accepted,
            "denoise": "applied" if applied else "skipped",
        }
        for index, (digit, confidence, accepted, applied) in enumerate(rows)
    ]
    if columns.is_digit is not None:
        for result, is_digit in zip(results, _rounded(columns.is_digit, 6), strict=True):
            result["is_digit"] = is_digit
    if columns.hint is not None:
        results[0]["hint"] = columns.hint
    if columns.noise_levels is not None:
        for result, level in zip(results, _rounded(columns.noise_levels, 4), strict=True):
            result["noise_level"] = level
    if "probabilities" in options.include:
        for result, scores in zip(results, _rounded(columns.scores, 6), strict=True):
            result["probabilities"] = scores
    if options.top_k:
        for result, scores in zip(results, columns.scores, strict=True):
            best = np.argsort(-scores, kind="stable")[: options.top_k]
            result["top"] = [{"digit": int(digit), "probability": round(float(scores[digit]), 6)} for digit in best]
    if columns.images is not None:
        for result, image in zip(results, columns.images, strict=True):
            result["input"] = data_url(to_unit(image))
    if columns.denoised:
        denoised = _each(columns.denoised)
        for result, image, applied in zip(results, denoised, columns.applied.tolist(), strict=True):
            if applied:
                result["denoised"] = data_url(image)
    return orjson.dumps(results)


def _rounded(values: np.ndarray, decimals: int) -> list[Any]:
    """As Python's own floats: those of float32 would be written with the digits that it lacks."""
    if values.shape == (1,):  # what most answers have: NumPy would take longer
        return [round(values.item(), decimals)]
    return values.astype(np.float64).round(decimals).tolist()


def _each(slices: Sequence[np.ndarray]) -> Iterator[np.ndarray]:
    for part in slices:
        yield from part


def data_url(image: np.ndarray) -> str:
    """A picture in JSON."""
    return "data:image/png;base64," + base64.b64encode(encode_png(image)).decode()
