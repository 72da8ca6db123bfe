"""A Reading -> the body of an answer: JSON for most, one .npy array for bulk clients."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import orjson

from services.core.images import encode_png
from services.core.lines.segment import apart
from services.core.preprocessing import to_unit
from services.gateway.admission.context import Answer
from services.gateway.api.options import Options
from services.gateway.reading.chain import Reading

NO_DIGIT = 0.5  # is_digit below it: it is worth looking whether the picture shows several

JSON = "application/json"
NPY = "application/x-npy"
OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class ModelNames:
    """What the two models are called on their servers."""

    denoiser: str
    classifier: str


def recognized(
    reading: Reading,
    images: np.ndarray,
    options: Options,
    *,
    names: ModelNames,
    request_id: str,
    timings_ms: Mapping[str, float],
    min_confidence: float,
    accept: str | None = None,
) -> Answer:
    """The answer of POST /v1/recognize; `min_confidence` is the gateway's, for requests that name none."""
    timing = ", ".join(f"{stage};dur={spent}" for stage, spent in timings_ms.items())
    headers = (("Server-Timing", timing),)
    if accept and NPY in accept:
        return Answer(200, _npy(reading.scores), NPY, headers)
    document = {
        "request_id": request_id,
        "count": len(images),
        "models": {
            "denoiser": None
            if reading.denoiser_version is None
            else {"name": names.denoiser, "version": reading.denoiser_version},
            "classifier": {"name": names.classifier, "version": reading.classifier_version},
        },
        "degraded": reading.degraded,
        "results": _results(reading, images, options, min_confidence),
        "timings_ms": timings_ms,
    }
    return Answer(200, orjson.dumps(document), JSON, headers)


def _results(reading: Reading, images: np.ndarray, options: Options, min_confidence: float) -> list[dict[str, object]]:
    least = min_confidence if options.min_confidence is None else options.min_confidence
    rows = zip(
        reading.digits.tolist(),
        reading.confidences.tolist(),
        (reading.certainties >= least).tolist(),
        reading.applied.tolist(),
        strict=True,
    )
    results: list[dict[str, object]] = [
        {
            "index": index,
            "digit": digit,
            "confidence": round(confidence, 6),
            "accepted": accepted,
            "denoise": "applied" if applied else "skipped",
        }
        for index, (digit, confidence, accepted, applied) in enumerate(rows)
    ]
    if reading.is_digit is not None:
        for result, is_digit in zip(results, reading.is_digit.tolist(), strict=True):
            result["is_digit"] = round(is_digit, 6)
        if len(results) == 1 and reading.is_digit[0] < NO_DIGIT and (count := apart(reading.denoised[0])) > 1:
            results[0]["hint"] = f"{count} digits: use /v1/read"
    if reading.noise_levels is not None:
        for result, level in zip(results, reading.noise_levels.tolist(), strict=True):
            result["noise_level"] = round(level, 4)
    if options.include or options.top_k:
        denoised = reading.denoised
        for index, result in enumerate(results):
            _add_extras(result, index, reading, images, denoised, options)
    return results


def _add_extras(
    result: dict[str, object],
    index: int,
    reading: Reading,
    images: np.ndarray,
    denoised: np.ndarray,
    options: Options,
) -> None:
    scores = reading.scores[index]
    if "probabilities" in options.include:
        result["probabilities"] = [round(score, 6) for score in scores.tolist()]
    if options.top_k:
        best = np.argsort(-scores, kind="stable")[: options.top_k]
        result["top"] = [{"digit": int(digit), "probability": round(float(scores[digit]), 6)} for digit in best]
    if "input" in options.include:
        result["input"] = data_url(to_unit(images[index]))
    if "denoised" in options.include and reading.applied[index]:
        result["denoised"] = data_url(denoised[index])


def data_url(image: np.ndarray) -> str:
    """A picture in JSON."""
    return "data:image/png;base64," + base64.b64encode(encode_png(image)).decode()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()
