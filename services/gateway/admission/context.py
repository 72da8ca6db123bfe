"""What the gateway knows of one request, and what it answers: the same whichever host received it."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from services.core.errors import InvalidInputError
from services.core.lane import Code
from services.gateway.models.transport import CallContext

if TYPE_CHECKING:  # never imported unless its environment variables ask for it
    from opentelemetry.trace import Span

_MOST_PARAMETERS = 100


@dataclass(slots=True)
class Request:
    """One request on its way through the gateway. Made before anything can go wrong; the body comes after admission."""

    id: str
    method: str
    path: str
    query_string: str
    headers: Mapping[str, str]  # lower-case names; lines of one name are joined with commas
    client: str  # its address; the name of its key once that was checked
    started_s: float  # on the monotonic clock
    call: CallContext  # what calls of models for it carry; the default deadline until admission has read its own
    route: str = "other"
    arguments: Mapping[str, str] = field(default_factory=dict)  # what the route's placeholders stand for
    body: bytes = b""
    images: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)
    client_gone: bool = False
    span: "Span | None" = None
    _query: dict[str, str] | None = None

    def timings_until_now(self) -> dict[str, float]:
        """The stages that were gone through, and all of it, in milliseconds."""
        return self.timings_ms | {"total": round(1e3 * (time.monotonic() - self.started_s), 2)}

    @property
    def query(self) -> dict[str, str]:
        """The query's parameters. One that is given twice is a list, with commas: many clients write lists so."""
        if self._query is None:
            self._query = _parsed(self.query_string) if self.query_string else {}
        return self._query


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that no server has sent yet: HTTP's status, and gRPC's code with the reason in words."""

    status: int
    body: bytes
    content_type: str
    headers: tuple[tuple[str, str], ...] = ()
    code: Code = Code.OK
    detail: str = ""


def _parsed(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=_MOST_PARAMETERS)
    except ValueError as exc:
        raise InvalidInputError(f"more than {_MOST_PARAMETERS} query parameters") from exc
    found: dict[str, str] = {}
    for name, value in pairs:
        found[name] = f"{found[name]},{value}" if name in found else value
    return found
