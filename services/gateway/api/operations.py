"""Operations: functions `Request -> Answer`, one for each route that programs use, and the one way they are run.

A new operation is a module with a function that returns a list of `Operation`, named in services/gateway/gateway.py.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

from services.core.compression import check_encoding
from services.core.errors import ClientGoneError, InvalidInputError, OverloadedError, ServiceError, TooLargeError
from services.gateway.admission.admission import Admission
from services.gateway.admission.context import Answer, Request
from services.gateway.admission.problems import problem_of, unexpected
from services.gateway.limits import Limits
from services.gateway.split import LABEL

log = logging.getLogger(__name__)

_MOST_DIGITS = 19

Receive = Callable[[], Awaitable[bytes]]  # reads the body, once, within its limits


@dataclass(frozen=True, slots=True)
class Operation:
    """What a route does. Both hosts learn of it from here."""

    method: str  # GET, which answers HEAD too, or POST, which has a body
    rule: str  # as Flask writes it: /v2/models/<name>/infer
    run: Callable[[Request], Awaitable[Answer]]
    check: Callable[[Request], None] | None = None  # refuses by headers and query alone, before a body is read


async def respond(
    request: Request, operation: Operation, receive: Receive, *, admission: Admission, limits: Limits
) -> Answer:
    """The answer to a request, also after a failure: admission, body and work in one deadline; then logged, counted."""
    request.route = operation.rule
    try:
        answer = await _answer(request, operation, receive, admission, limits)
    except ServiceError as error:
        answer = refusal(request, error, admission)
    except asyncio.CancelledError:
        if request.client_gone:
            answer = refusal(request, ClientGoneError("the client closed the connection"), admission)
        else:
            stopping = OverloadedError("the gateway is shutting down", retry_after_s=1.0)
            answer = refusal(request, stopping, admission)
    except Exception:  # a mistake of ours: logged with its traceback, told without it
        log.exception("unexpected failure", extra={"request_id": request.id})
        answer = unexpected(path=request.path, request_id=request.id)
    if request.call.label and request.images:  # its models were asked, or would have been
        answer = replace(answer, headers=(*answer.headers, (LABEL, request.call.label)))
    admission.leave(request, answer.status)
    return answer


def refusal(request: Request, error: ServiceError, admission: Admission) -> Answer:
    """What a caller gets for `error`; counted where it is a choice."""
    admission.refused(error)
    return problem_of(error, path=request.path, request_id=request.id)


async def _answer(
    request: Request, operation: Operation, receive: Receive, admission: Admission, limits: Limits
) -> Answer:
    admission.admit(request)
    if operation.method == "GET":
        return await request.call.deadline.wait_for(operation.run(request))
    _check_head(request, limits)
    if operation.check is not None:
        operation.check(request)
    return await request.call.deadline.wait_for(_read_and_run(request, operation, receive))


async def _read_and_run(request: Request, operation: Operation, receive: Receive) -> Answer:
    request.body = await receive()
    return await operation.run(request)


def _check_head(request: Request, limits: Limits) -> None:
    """What can be said of any body before it is read."""
    check_encoding(request.headers.get("content-encoding"))
    length = request.headers.get("content-length")
    if not length:
        return
    if not (length.isascii() and length.isdecimal() and len(length) < _MOST_DIGITS):
        raise InvalidInputError(f"Content-Length: {length[:40]!r} is not a number of bytes")
    if int(length) > limits.max_body_bytes:
        raise TooLargeError(f"the body has more than {limits.max_body_bytes} bytes")
