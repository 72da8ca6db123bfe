"""Exceptions -> RFC 9457 problem+json and gRPC's codes: the only place that picks either."""

import logging
import math
from dataclasses import dataclass, replace
from http import HTTPStatus

import orjson

from services.core import errors
from services.core.lane import Code
from services.gateway.admission.context import Answer

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
UNEXPECTED = "an unexpected failure; the log has it under this request id"


@dataclass(frozen=True, slots=True)
class Problem:
    """One row: what a kind of failure is called over HTTP, and over gRPC."""

    status: int
    slug: str
    title: str
    code: Code = Code.UNKNOWN


# Looked up along the exception's ancestry: the nearest row wins.
PROBLEMS: dict[type[errors.ServiceError], Problem] = {
    errors.ServiceError: Problem(500, "internal", "The gateway failed", Code.INTERNAL),
    errors.InvalidInputError: Problem(
        422, "invalid-input", "The input cannot be read as digits", Code.INVALID_ARGUMENT
    ),
    errors.UnsupportedMediaError: Problem(
        415, "unsupported-media-type", "This kind of body is not taken", Code.INVALID_ARGUMENT
    ),
    errors.TooLargeError: Problem(
        413, "payload-too-large", "The request holds more than one request may", Code.INVALID_ARGUMENT
    ),
    errors.NotFoundError: Problem(404, "not-found", "Not Found", Code.NOT_FOUND),
    errors.UnauthorizedError: Problem(401, "unauthorized", "An API key is needed", Code.UNAUTHENTICATED),
    errors.OverloadedError: Problem(503, "overloaded", "Too much is waiting already", Code.UNAVAILABLE),
    errors.RateLimitedError: Problem(
        429, "rate-limited", "Too many requests from this client", Code.RESOURCE_EXHAUSTED
    ),
    errors.DeadlineError: Problem(504, "deadline-exceeded", "The request's time was used up", Code.DEADLINE_EXCEEDED),
    errors.ClientGoneError: Problem(
        499, "client-gone", "The client closed the connection", Code.CANCELLED
    ),  # for the log: the client does not read it
    errors.ModelError: Problem(502, "model-error", "A model server failed", Code.INTERNAL),
    errors.ModelNotFoundError: Problem(503, "model-not-found", "The model is not being served", Code.UNAVAILABLE),
    errors.ModelUnavailableError: Problem(
        503, "model-unavailable", "A model server cannot be reached", Code.UNAVAILABLE
    ),
    errors.ModelRefusedError: Problem(503, "model-refused", "A model server refused the call", Code.UNAVAILABLE),
    errors.ModelTimeoutError: Problem(
        504, "model-timeout", "A model server did not answer in time", Code.DEADLINE_EXCEEDED
    ),
    errors.ModelResponseError: Problem(
        502, "model-response", "A model server answered something unexpected", Code.INTERNAL
    ),
}
_OTHER_PROTOCOLS = ("/v2", "/v1/models", "/inference.")  # Open Inference Protocol and TensorFlow Serving
_SLUGS = {
    400: "bad-request",
    404: "not-found",
    405: "method-not-allowed",
    413: "payload-too-large",
    415: "unsupported-media-type",
}


def problem_of(error: errors.ServiceError, *, path: str, request_id: str) -> Answer:
    """The answer a caller gets for `error`."""
    row = next(PROBLEMS[kind] for kind in type(error).__mro__ if kind in PROBLEMS)
    if path.startswith(_OTHER_PROTOCOLS) and row.status in (415, 422):
        row = replace(row, status=400)  # the one code that these two have for what cannot be read
    headers: list[tuple[str, str]] = []
    if isinstance(error, errors.OverloadedError | errors.ModelRefusedError):
        headers.append(("Retry-After", str(math.ceil(error.retry_after_s))))
    if isinstance(error, errors.UnauthorizedError):
        headers.append(("WWW-Authenticate", "Bearer"))
    if isinstance(error, errors.ModelError):  # other refusals are choices: the request's own line is enough
        said = {"problem": row.slug, "detail": str(error), "request_id": request_id}
        if error.__cause__ is not None:  # addresses and the server's own words: for the operator alone
            said["cause"] = str(error.__cause__)
        log.warning("problem", extra=said)
    return _answer(row, str(error), path, request_id, tuple(headers))


def problem_of_status(
    status: int, title: str, detail: str, *, path: str, request_id: str, headers: tuple[tuple[str, str], ...] = ()
) -> Answer:
    """The answer for what HTTP itself has a status for: an unknown route, a wrong method, a body cut short."""
    row = Problem(status, _SLUGS.get(status, title.lower().replace(" ", "-")), title)
    return _answer(row, detail, path, request_id, headers)


def unexpected(*, path: str, request_id: str) -> Answer:
    """The answer for an exception that is no ServiceError: what it says is not for callers."""
    return _answer(PROBLEMS[errors.ServiceError], UNEXPECTED, path, request_id, ())


def _answer(row: Problem, detail: str, path: str, request_id: str, headers: tuple[tuple[str, str], ...]) -> Answer:
    document = {
        "type": f"/problems/{row.slug}",
        "title": row.title or HTTPStatus(row.status).phrase,
        "status": row.status,
        "detail": detail,
        "request_id": request_id,
    }
    if path.startswith(_OTHER_PROTOCOLS):
        document["error"] = detail  # what clients of these two protocols read
    return Answer(row.status, orjson.dumps(document), PROBLEM, headers, row.code, detail)
