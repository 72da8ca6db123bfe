"""How a call reaches a model server: the Wire protocol, which the lane and gRPC implement."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from services.core.lane import Code, Method
from services.gateway.deadlines import Deadline

Metadata = Sequence[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class CallContext:
    """What every call of a model carries besides its images."""

    deadline: Deadline
    metadata: Metadata = ()
    label: str = ""  # the versions to ask; empty: those of the settings
    version: int | None = None  # of one model, named by the caller: goes before any label

    def share(self, part: float) -> "CallContext":
        """The same with `part` of the time that is left, for a stage that something else must follow."""
        return replace(self, deadline=self.deadline.share(part))


# No model has answered, and the next attempt may meet another server, a free thread or another batch. TensorFlow
# Serving does not queue calls beyond --grpc_max_threads: it refuses them with RESOURCE_EXHAUSTED. A server that ends
# cancels the calls that come in that moment.
RETRIED = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.FAILED_PRECONDITION, Code.CANCELLED)


OTHER_PROTOCOL = "the peer speaks another protocol"  # so begin the words of a call that met one; its code is INTERNAL


class CallFailedError(Exception):
    """A call without an answer: gRPC's code for why, and the words that came with it."""

    def __init__(self, code: Code, details: str) -> None:
        super().__init__(details)
        self.code = code


class Wire(Protocol):
    """One model server, or several behind one target. Connects when first used; a call raises CallFailedError."""

    async def call(self, method: Method, request: bytes, *, timeout_s: float, metadata: Metadata = ()) -> bytes: ...

    async def close(self) -> None: ...
