"""gRPC reflection of what the gateway serves, for grpcurl, Postman and others that have no .proto files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection, reflection_pb2

from services.gateway.server.grpc_calls import Context, Stream
from services.pb import open_inference_pb2 as pb
from services.runtime.reflection import METHOD, SERVICES, STREAM_S, STREAMS, copy_of, pool_of, renamed

_REQUEST_BYTES = 4096  # a request is a name; it comes back in the answer
_NAMES = (*SERVICES, "inference.GRPCInferenceService", "grpc.health.v1.Health")


class Reflection:
    """v1 and v1alpha. A stream may hold several requests, and ends after a while."""

    def __init__(self) -> None:
        ours = renamed(pb.DESCRIPTOR, name="open_inference.proto", package="inference")
        pool = pool_of((ours, copy_of(health_pb2.DESCRIPTOR)))
        self._servicer = reflection.aio.ReflectionServicer(_NAMES, pool)
        self._streams = 0

    def streams(self) -> dict[str, Stream]:
        """By method path."""
        return {f"/{service}/{METHOD}": self.answer for service in SERVICES}

    async def answer(self, _messages: object, context: Context, /) -> None:
        """One stream, to its end."""
        if self._streams >= STREAMS:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{STREAMS} streams of reflection are open")
        self._streams += 1
        try:
            async with asyncio.timeout(STREAM_S):
                await self._answer(context)
        except TimeoutError:
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, f"a stream may last {STREAM_S:.0f} s")
        finally:
            self._streams -= 1

    async def _answer(self, context: Context) -> None:
        while isinstance(data := await context.read(), bytes):
            request = _parsed(data)
            if request is None:
                await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no request of reflection, or too long a name")
            async for reply in self._servicer.ServerReflectionInfo(_one(request), context):
                await context.write(reply.SerializeToString())


def _parsed(data: bytes) -> reflection_pb2.ServerReflectionRequest | None:
    try:
        return reflection_pb2.ServerReflectionRequest.FromString(data) if len(data) <= _REQUEST_BYTES else None
    except DecodeError:
        return None


async def _one(request: Any) -> AsyncIterator[Any]:
    yield request
