"""POST /v1/feedback: the true label of a picture that was answered before, if it was kept.

The body is {"request_id": "...", "index": 0, "label": 7}; a label is 0 to 9, or null for a picture that shows no digit.
Sent again it changes nothing; sent with another label, the last one counts.
"""

from dataclasses import dataclass

import orjson

from services.core.errors import InvalidInputError, NotFoundError, TooLargeError
from services.gateway.admission.context import Answer, Request
from services.gateway.api.operations import Operation
from services.gateway.captures.capture import Captures
from services.runtime.captures import NO_DIGIT

FEEDBACK = "/v1/feedback"
MOST_BYTES = 4096
MOST_INDEX = 1_000_000
_FIELDS = {"request_id", "index", "label"}


@dataclass(frozen=True, slots=True)
class Feedback:
    """The operation; without captures it says that nothing is kept."""

    captures: Captures | None

    def operations(self) -> list[Operation]:
        """The one route."""
        return [Operation("POST", FEEDBACK, self.run)]

    async def run(self, request: Request) -> Answer:
        """200 with what was stored, 404 for a picture that was not kept."""
        request_id, position, label = read_feedback(request.body)
        if self.captures is None:
            raise NotFoundError("this gateway keeps no pictures: CLEARDIGITS_GATEWAY_CAPTURE_DIR is not set")
        if not await self.captures.label(request_id, position, NO_DIGIT if label is None else label):
            raise NotFoundError(f"image {position} of request {request_id[:64]!r} was not kept")
        stored = {"request_id": request_id, "index": position, "label": label}
        return Answer(200, orjson.dumps(stored), "application/json")


def read_feedback(body: bytes) -> tuple[str, int, int | None]:
    """Request id, index and label, None where the picture shows no digit; InvalidInputError for anything else."""
    if len(body) > MOST_BYTES:
        raise TooLargeError(f"feedback has at most {MOST_BYTES} bytes")
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise InvalidInputError(f"feedback is JSON: {exc}") from exc
    if not isinstance(given, dict) or set(given) != _FIELDS:
        raise InvalidInputError(f"feedback has the fields {', '.join(sorted(_FIELDS))}, and no others")
    request_id, position, label = given["request_id"], given["index"], given["label"]
    if not isinstance(request_id, str):
        raise InvalidInputError("request_id is a string")
    if type(position) is not int or not 0 <= position <= MOST_INDEX:
        raise InvalidInputError(f"index is a whole number from 0 to {MOST_INDEX}")
    if not (label is None or (type(label) is int and 0 <= label <= 9)):
        raise InvalidInputError("label is a digit from 0 to 9, or null for a picture that shows none")
    return request_id, position, label
