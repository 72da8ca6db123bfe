"""Exceptions -> RFC 9457 problem+json: the only place that picks a status code."""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus

import orjson
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, InternalServerError

from services.core import errors
from services.gateway.api.answers import Answer

log = logging.getLogger(__name__)

PROBLEM = "application/problem+json"
UNEXPECTED = "an unexpected failure; the log has it under this request id"


@dataclass(frozen=True, slots=True)
class Problem:
    """One row: what a kind of failure is called over HTTP."""

    status: int
    slug: str
    title: str


# Looked up along the exception's ancestry: the nearest row wins.
PROBLEMS: dict[type[errors.ServiceError], Problem] = {
    errors.ServiceError: Problem(500, "internal", "The gateway failed"),
    errors.InvalidInputError: Problem(422, "invalid-input", "The input cannot be read as digits"),
    errors.UnsupportedMediaError: Problem(415, "unsupported-media-type", "This kind of body is not taken"),
    errors.TooLargeError: Problem(413, "payload-too-large", "The request holds more than one request may"),
    errors.UnauthorizedError: Problem(401, "unauthorized", "An API key is needed"),
    errors.OverloadedError: Problem(503, "overloaded", "Too much is waiting already"),
    errors.RateLimitedError: Problem(429, "rate-limited", "Too many requests from this client"),
    errors.DeadlineError: Problem(504, "deadline-exceeded", "The request's time was used up"),
    errors.ClientGoneError: Problem(
        499, "client-gone", "The client closed the connection"
    ),  # for the log: nobody reads it
    errors.ModelError: Problem(502, "model-error", "A model server failed"),
    errors.ModelNotFoundError: Problem(503, "model-not-found", "The model is not being served"),
    errors.ModelUnavailableError: Problem(503, "model-unavailable", "A model server cannot be reached"),
    errors.ModelRefusedError: Problem(503, "model-refused", "A model server refused the call"),
    errors.ModelTimeoutError: Problem(504, "model-timeout", "A model server did not answer in time"),
    errors.ModelResponseError: Problem(502, "model-response", "A model server answered something unexpected"),
}
_OTHER_PROTOCOLS = ("/v2", "/v1/models")  # Open Inference Protocol and TensorFlow Serving
_OF_STATUS = {
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
        log.warning("problem", extra={"problem": row.slug, "detail": str(error), "request_id": request_id})
    return _answer(row, str(error), path, request_id, tuple(headers))


def unexpected(*, path: str, request_id: str) -> Answer:
    """The answer for a failure that nobody foresaw: it says where to look, not what is inside."""
    return _answer(PROBLEMS[errors.ServiceError], UNEXPECTED, path, request_id, ())


def register_problems(app: Flask, *, observe: Callable[[errors.ServiceError], None]) -> None:
    """Translate the ServiceError family and everything Flask itself raises, unexpected failures included."""

    @app.errorhandler(errors.ServiceError)
    def service_error(error: errors.ServiceError) -> Response:
        observe(error)
        return flask_response(problem_of(error, path=request.path, request_id=g.request_id))

    @app.errorhandler(HTTPException)
    def http_exception(error: HTTPException) -> Response:
        if error.response is not None or (error.code or 500) < 400:  # a redirect, or a response of its own
            return error.get_response()
        status = error.code or 500
        if isinstance(error, InternalServerError):
            return flask_response(unexpected(path=request.path, request_id=g.request_id))
        detail = error.description or error.name
        row = Problem(status, _OF_STATUS.get(status, error.name.lower().replace(" ", "-")), error.name)
        kept = tuple((name, value) for name, value in error.get_headers() if name in ("Allow", "Retry-After"))
        return flask_response(_answer(row, detail, request.path, g.request_id, kept))


def flask_response(answer: Answer) -> Response:
    """An Answer as Flask sends it."""
    response = Response(answer.body, status=answer.status, content_type=answer.content_type)
    response.headers.extend(answer.headers)
    return response


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
    return Answer(row.status, orjson.dumps(document), PROBLEM, headers)
