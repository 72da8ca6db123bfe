"""A Reading -> the body of an answer: JSON for most, one .npy array for bulk clients."""

from collections.abc import Mapping, Sequence

import numpy as np
import orjson
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header

from services.core import npy
from services.core.lines.segment import apart
from services.gateway.admission.context import Answer, Request
from services.gateway.messages.options import Options
from services.gateway.messages.results import Columns
from services.gateway.reading.chain import Reading

NO_DIGIT = 0.5  # is_digit below it: it is worth looking whether the picture shows several

JSON = "application/json"
NPY = "application/x-npy"
OCTETS = "application/octet-stream"


def answer_of(
    request: Request,
    results: Sequence[object] | orjson.Fragment,
    *,
    count: int,
    names: Mapping[str, str],
    versions: Mapping[str, int | None],
    degraded: bool,
) -> Answer:
    """The answer of /v1/recognize and /v1/read. `names` and `versions` by role; None is that of a model not asked."""
    timings_ms = request.timings_until_now()
    document = {
        "request_id": request.id,
        "count": count,
        "models": {
            role: None if version is None else {"name": names[role], "version": version}
            for role, version in versions.items()
        },
        **({"label": request.call.label} if request.call.label else {}),
        "degraded": degraded,
        "results": results,
        "timings_ms": timings_ms,
    }
    return Answer(200, orjson.dumps(document), JSON, _timing(timings_ms))


def scores_only(request: Request, reading: Reading) -> Answer:
    """The same for bulk clients: the probabilities as one array."""
    return Answer(200, npy.written(reading.scores), NPY, _timing(request.timings_until_now()))


def takes_npy(accept: str | None) -> bool:
    """Whether a client would rather have one array. Written by a generator, it names all that there is: JSON then."""
    if accept is None or NPY not in accept:
        return False
    return accept == NPY or parse_accept_header(accept, MIMEAccept).best_match((JSON, NPY)) == NPY


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
