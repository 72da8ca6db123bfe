"""Ask the gateway's RSGI application as granian would, without a socket."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Scope:
    """What granian says of a request."""

    method: str
    path: str
    headers: dict[str, str]
    query_string: str = ""
    client: str = "192.0.2.7:40000"
    server: str = "127.0.0.1:8080"
    scheme: str = "http"
    http_version: str = "1.1"
    authority: str | None = None
    proto: str = "http"


@dataclass
class Protocol:
    """What granian gives to answer with; it keeps the answer."""

    body: bytes = b""
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    answer: bytes = b""
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self) -> bytes:
        return self.body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self.body), 1000):
            yield self.body[start : start + 1000]

    async def client_disconnect(self) -> None:
        await self.gone.wait()

    def response_bytes(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        self.status, self.headers, self.answer = status, {name.lower(): value for name, value in headers}, body


async def ask(
    server: Any,
    path: str,
    *,
    method: str = "POST",
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    chunked: bool = False,
    protocol: Protocol | None = None,
) -> Protocol:
    """One request; the protocol that holds the answer."""
    protocol = protocol or Protocol()
    protocol.body = body
    path, _, query = path.partition("?")
    length = {} if chunked else {"content-length": str(len(body))}
    await server.__rsgi__(Scope(method, path, {**length, **(headers or {})}, query), protocol)
    return protocol
