"""One request on its way through the gateway: what every part of the way may know of it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from services.gateway.models.transport import Metadata

if TYPE_CHECKING:  # never imported unless its environment variables ask for it
    from opentelemetry.trace import Span


@dataclass(slots=True)
class Visit:
    """One request on its way through the gateway."""

    request_id: str
    method: str
    path: str
    started_s: float  # on the monotonic clock
    metadata: Metadata
    client: str
    route: str = "other"
    images: int = 0
    timings_ms: dict[str, float] = field(default_factory=dict)
    span: "Span | None" = None
