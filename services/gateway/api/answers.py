"""A Reading -> the body of an answer: JSON for most, one .npy array for bulk clients."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import orjson

from services.core import npy
from services.core.lines.segment import apart
from services.gateway.admission.context import Answer
from services.gateway.messages.options import Options
from services.gateway.messages.results import Columns
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
    results: bytes,
    *,
    names: ModelNames,
    request_id: str,
    timings_ms: Mapping[str, float],
) -> Answer:
    """The answer of POST /v1/recognize, over results as JSON."""
    document = {
        "request_id": request_id,
        "count": len(reading.digits),
        "models": {
            "denoiser": None
            if reading.denoiser_version is None
            else {"name": names.denoiser, "version": reading.denoiser_version},
            "classifier": {"name": names.classifier, "version": reading.classifier_version},
        },
        **({"label": reading.label} if reading.label else {}),
        "degraded": reading.degraded,
        "results": orjson.Fragment(results),
        "timings_ms": timings_ms,
    }
    return Answer(200, orjson.dumps(document), JSON, _timing(timings_ms))


def scores_only(reading: Reading, *, timings_ms: Mapping[str, float]) -> Answer:
    """The same for bulk clients: the probabilities as one array."""
    return Answer(200, npy.written(reading.scores), NPY, _timing(timings_ms))


def takes_npy(accept: str | None) -> bool:
    """Whether a client asks for one array."""
    return accept is not None and NPY in accept


def columns_of(reading: Reading, images: np.ndarray, options: Options, *, min_confidence: float) -> Columns:
    """What the results of a reading are written from; `min_confidence` is for requests that name none."""
    least = min_confidence if options.min_confidence is None else options.min_confidence
    alone_and_doubtful = reading.is_digit is not None and len(images) == 1 and reading.is_digit[0] < NO_DIGIT
    count = apart(reading.denoised[0]) if alone_and_doubtful else 0
    return Columns(
        digits=reading.digits,
        confidences=reading.confidences,
        applied=reading.applied,
        scores=reading.scores,
        accepted=reading.certainties >= least,
        is_digit=reading.is_digit,
        hint=f"{count} digits: use /v1/read" if count > 1 else None,
        noise_levels=reading.noise_levels,
        images=images if "input" in options.include else None,
        denoised=reading.pictures if "denoised" in options.include else (),
    )


def _timing(timings_ms: Mapping[str, float]) -> tuple[tuple[str, str]]:
    return (("Server-Timing", ", ".join(f"{stage};dur={spent}" for stage, spent in timings_ms.items())),)
