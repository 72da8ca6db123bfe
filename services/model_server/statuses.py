"""Exceptions -> status codes: the gRPC column of the error family, its HTTP twin, and TensorFlow Serving's words.

`StatusError` is for outcomes whose code and wording are part of TensorFlow Serving's contract; the rest of the
family in `services.core.errors` goes through one table.
"""

import grpc

from services.core.errors import (
    ClientGoneError,
    DeadlineError,
    InvalidInputError,
    ModelNotFoundError,
    ModelRefusedError,
    ModelResponseError,
    ModelTimeoutError,
    ModelUnavailableError,
    NotFoundError,
    OverloadedError,
    ServiceError,
    UnauthorizedError,
)

Code = grpc.StatusCode


class StatusError(ServiceError):
    """An outcome with its own gRPC code."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


GRPC_CODES: dict[type[ServiceError], grpc.StatusCode] = {
    InvalidInputError: Code.INVALID_ARGUMENT,
    OverloadedError: Code.UNAVAILABLE,
    DeadlineError: Code.RESOURCE_EXHAUSTED,  # it passed in the batching queue
    ClientGoneError: Code.CANCELLED,
    UnauthorizedError: Code.UNAUTHENTICATED,
    NotFoundError: Code.NOT_FOUND,
    ModelNotFoundError: Code.NOT_FOUND,
    ModelUnavailableError: Code.UNAVAILABLE,
    ModelRefusedError: Code.UNAVAILABLE,
    ModelTimeoutError: Code.DEADLINE_EXCEEDED,
    ModelResponseError: Code.INTERNAL,
    ServiceError: Code.INTERNAL,
}

HTTP_CODES: dict[grpc.StatusCode, int] = {
    Code.OK: 200,
    Code.INVALID_ARGUMENT: 400,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.UNAUTHENTICATED: 401,
    Code.PERMISSION_DENIED: 403,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.ABORTED: 409,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.INTERNAL: 500,
    Code.DATA_LOSS: 500,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
    Code.DEADLINE_EXCEEDED: 504,
}

_MAX_MESSAGE_CHARS = 1024  # what TensorFlow Serving lets through: a gRPC status travels in headers
_TRUNCATED = "...TRUNCATED"


def code_of(error: ServiceError) -> grpc.StatusCode:
    """The code for `error`: its own, or that of the nearest class in the table."""
    if isinstance(error, StatusError):
        return error.code
    return next(GRPC_CODES[kind] for kind in type(error).__mro__ if kind in GRPC_CODES)


def message_of(error: ServiceError) -> str:
    """The message as it travels over gRPC."""
    text = str(error)
    return text if len(text) <= _MAX_MESSAGE_CHARS else text[:_MAX_MESSAGE_CHARS] + _TRUNCATED
