"""One table from exceptions to statuses, and one shape of every error body."""

import logging

import orjson
import pytest

from services.core import errors
from services.core.lane import Code
from services.gateway.admission.problems import PROBLEMS, problem_of

FAMILY = [item for item in vars(errors).values() if isinstance(item, type) and issubclass(item, errors.ServiceError)]


def make(kind: type[errors.ServiceError]) -> errors.ServiceError:
    return kind("what", retry_after_s=2.4) if issubclass(kind, errors.OverloadedError) else kind("what")


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_has_a_row_of_its_own(kind):
    assert kind in PROBLEMS


@pytest.mark.parametrize("kind", FAMILY)
def test_every_problem_has_the_same_shape(kind):
    answer = problem_of(make(kind), path="/v1/recognize", request_id="abc")

    document = orjson.loads(answer.body)
    assert answer.content_type == "application/problem+json"
    assert document == {
        "type": f"/problems/{PROBLEMS[kind].slug}",
        "title": PROBLEMS[kind].title,
        "status": answer.status,
        "detail": "what",
        "request_id": "abc",
    }


@pytest.mark.parametrize("kind", FAMILY)
def test_every_error_has_a_code_of_grpc(kind):
    answer = problem_of(make(kind), path="/inference.GRPCInferenceService/ModelInfer", request_id="abc")

    assert answer.code not in (Code.OK, Code.UNKNOWN)
    assert answer.detail == "what"


def test_http_and_grpc_say_the_same():
    code_of = {
        401: Code.UNAUTHENTICATED,
        404: Code.NOT_FOUND,
        413: Code.INVALID_ARGUMENT,
        415: Code.INVALID_ARGUMENT,
        422: Code.INVALID_ARGUMENT,
        429: Code.RESOURCE_EXHAUSTED,
        499: Code.CANCELLED,
        500: Code.INTERNAL,
        502: Code.INTERNAL,
        503: Code.UNAVAILABLE,
        504: Code.DEADLINE_EXCEEDED,
    }

    assert {row.slug: row.code for row in PROBLEMS.values()} == {
        row.slug: code_of[row.status] for row in PROBLEMS.values()
    }


@pytest.mark.parametrize("path", ["/v2/models/digits/infer", "/v1/models/digits:predict"])
def test_clients_of_the_other_protocols_find_their_key(path):
    answer = problem_of(errors.InvalidInputError("bad shape"), path=path, request_id="abc")

    assert orjson.loads(answer.body)["error"] == "bad shape"


@pytest.mark.parametrize(("kind", "status"), [(errors.OverloadedError, 503), (errors.RateLimitedError, 429)])
def test_come_back_later_says_when_in_whole_seconds(kind, status):
    answer = problem_of(kind("full", retry_after_s=2.4), path="/", request_id="abc")

    assert (answer.status, dict(answer.headers)["Retry-After"]) == (status, "3")


def test_a_kind_without_a_row_takes_its_parents():
    class StrangeModelError(errors.ModelResponseError):
        pass

    assert problem_of(StrangeModelError("odd"), path="/", request_id="abc").status == 502


def test_failures_of_ours_are_logged_and_mistakes_of_the_caller_are_not(caplog):
    with caplog.at_level(logging.INFO):
        problem_of(errors.InvalidInputError("theirs"), path="/", request_id="abc")
        problem_of(errors.ModelTimeoutError("ours"), path="/", request_id="abc")

    assert [record.detail for record in caplog.records] == ["ours"]
