"""Every error of the family has a code in both protocols, and messages stay within what a header holds."""

import grpc
import pytest

from services.core import errors
from services.core.errors import DeadlineError, InvalidInputError, OverloadedError, ServiceError, TooLargeError
from services.model_server.statuses import GRPC_CODES, HTTP_CODES, Code, StatusError, code_of, message_of


def _family(root):
    return {root}.union(*(_family(kind) for kind in root.__subclasses__()))


def test_every_error_has_a_row_or_a_parent_with_one():
    """The catch-all is for what has no better name: only the roots may fall to it."""
    family = {kind for kind in _family(ServiceError) if kind.__module__ == errors.__name__}
    uncovered = {
        kind.__name__
        for kind in family - {ServiceError, errors.ModelError}
        if not any(base in GRPC_CODES for base in kind.__mro__ if base is not ServiceError)
    }

    assert not uncovered


def test_every_grpc_code_has_an_http_code():
    assert set(HTTP_CODES) == set(grpc.StatusCode)


@pytest.mark.parametrize(
    ("error", "code", "http"),
    [
        (InvalidInputError("x"), Code.INVALID_ARGUMENT, 400),
        (TooLargeError("x"), Code.INVALID_ARGUMENT, 400),
        (OverloadedError("x", retry_after_s=1), Code.UNAVAILABLE, 503),
        (DeadlineError("x"), Code.RESOURCE_EXHAUSTED, 429),
        (StatusError(Code.FAILED_PRECONDITION, "x"), Code.FAILED_PRECONDITION, 400),
        (StatusError(Code.UNIMPLEMENTED, "x"), Code.UNIMPLEMENTED, 501),
    ],
)
def test_codes(error, code, http):
    assert code_of(error) == code
    assert HTTP_CODES[code_of(error)] == http


def test_a_long_message_is_cut_and_says_so():
    assert message_of(InvalidInputError("x" * 1024)) == "x" * 1024
    assert message_of(InvalidInputError("x" * 5000)) == "x" * 1024 + "...TRUNCATED"
