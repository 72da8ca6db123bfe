"""How a call reaches a model server: the Wire protocol, which the lane and gRPC implement."""

from collections.abc import Sequence
from typing import Protocol

from services.core.lane import Code, Method

Metadata = Sequence[tuple[str, str]]


# No model has answered, and the next attempt may meet another server, a free thread or another batch. TensorFlow
# Serving does not queue calls beyond --grpc_max_threads: it refuses them with RESOURCE_EXHAUSTED.
RETRIED = (Code.UNAVAILABLE, Code.RESOURCE_EXHAUSTED, Code.FAILED_PRECONDITION)


class CallFailedError(Exception):
    """A call without an answer: gRPC's code for why, and the words that came with it."""

    def __init__(self, code: Code, details: str) -> None:
        super().__init__(details)
        self.code = code


class Wire(Protocol):
    """One model server, or several behind one target. Connects when first used; a call raises CallFailedError."""

    async def call(self, method: Method, request: bytes, *, timeout_s: float, metadata: Metadata = ()) -> bytes: ...

    async def close(self) -> None: ...
