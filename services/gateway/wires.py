"""How a call reaches a model server: the Wire protocol, and which wire a target asks for."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from services.core.lane import SCHEME, Code, Method

Metadata = Sequence[tuple[str, str]]


class CallFailedError(Exception):
    """A call without an answer: gRPC's code for why, and the words that came with it."""

    def __init__(self, code: Code, details: str) -> None:
        super().__init__(details)
        self.code = code


class Wire(Protocol):
    """One model server, or several behind one target. Connects when first used; a call raises CallFailedError."""

    async def call(self, method: Method, request: bytes, *, timeout_s: float, metadata: Metadata = ()) -> bytes: ...

    async def close(self) -> None: ...


def wire_to(target: str, *, connect_s: float) -> Wire:
    """`lane:/path` is a socket of this machine; everything else is gRPC, imported only where it is spoken."""
    if target.startswith(SCHEME):
        from services.gateway.lane_wire import LaneWire

        return LaneWire(Path(target.removeprefix(SCHEME)))
    from services.gateway.grpc_wire import GrpcWire

    return GrpcWire(target, connect_s=connect_s)
