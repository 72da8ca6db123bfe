"""The lane: Predict and GetModelStatus between two processes of one machine, over a UNIX socket instead of HTTP/2.

The messages are those of gRPC, byte for byte. A connection carries one call at a time: a caller with several under way
opens several, and a caller that gives a call up closes its connection. An answer's payload is the response message, or
the reason in words where the code is not OK.

    request   method (1 byte)   milliseconds left, 0: no deadline (4)   length (4)   message
    answer    code   (1 byte)                                           length (4)   payload

`ServerEnd` and `ClientEnd` are the two ends without a socket: an adapter fills `space()` with what has arrived, says
how much with `received`, and sends what the other methods return. LaneProtocolError: close the connection.
"""

import struct
from dataclasses import dataclass
from enum import IntEnum

SCHEME = "lane:"
MAX_MESSAGE_BYTES = 64 * 1024 * 1024

_REQUEST = struct.Struct("<BII")
_ANSWER = struct.Struct("<BI")
_FIRST_BYTES = 16 * 1024  # a message for a few images comes in one piece
_NEXT_BYTES = 1024 * 1024  # room made for a longer message at first, and doubled: a length is only a claim


class Method(IntEnum):
    """What can be asked."""

    PREDICT = 1
    GET_MODEL_STATUS = 2


class Code(IntEnum):
    """gRPC's status codes, by their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_CODES = frozenset(map(int, Code))


class LaneProtocolError(Exception):
    """The peer broke the protocol, or speaks another one."""


@dataclass(frozen=True, slots=True)
class LaneRequest:
    """One call, as the server sees it."""

    method: int
    timeout_ms: int  # 0: no deadline
    message: bytes


@dataclass(frozen=True, slots=True)
class LaneAnswer:
    """What a call came to."""

    code: Code
    payload: bytes


class _Frame:
    """Collects one header and the bytes it announces; memory grows with what has arrived, not with what is claimed."""

    def __init__(self, header: struct.Struct, kinds: frozenset[int] | None = None) -> None:
        self._header = header
        self._kinds = kinds  # what the first byte may be, where that is known
        self._first = memoryview(bytearray(_FIRST_BYTES))
        self._view, self._filled = self._first, 0

    def space(self) -> memoryview:
        return self._view[self._filled :]

    def received(self, count: int) -> tuple[tuple[int, ...], bytes] | None:
        """The header's fields without the length, and the payload, once all of it is there."""
        self._filled += count
        start = self._header.size
        if self._filled < start:
            return None
        *fields, length = self._header.unpack_from(self._view)
        if self._kinds is not None and fields[0] not in self._kinds:
            raise LaneProtocolError(f"a message of kind {fields[0]}")
        if length > MAX_MESSAGE_BYTES:
            raise LaneProtocolError(f"a message of {length} bytes: the limit is {MAX_MESSAGE_BYTES}")
        size = start + length
        if self._filled > size:
            raise LaneProtocolError("more bytes than the call under way may have")
        if self._filled == size:
            payload = bytes(self._view[start:size])
            self._view, self._filled = self._first, 0
            return tuple(fields), payload
        if self._filled == len(self._view):
            grown = memoryview(bytearray(min(size, max(_NEXT_BYTES, 2 * self._filled))))
            grown[: self._filled] = self._view
            self._view = grown
        return None


class ServerEnd:
    """Receives a request, then answers it, and so on."""

    def __init__(self) -> None:
        self._frame = _Frame(_REQUEST)
        self._answering = False

    def space(self) -> memoryview:
        """Where the next bytes belong; a peer that sends while it is owed an answer breaks the protocol."""
        if self._answering:
            raise LaneProtocolError("a second request before the answer to the first")
        return self._frame.space()

    def received(self, count: int) -> LaneRequest | None:
        """So many bytes of `space` were filled: the request, once it is whole."""
        whole = self._frame.received(count)
        if whole is None:
            return None
        self._answering = True
        (method, timeout_ms), message = whole
        return LaneRequest(method, timeout_ms, message)

    def answer(self, answer: LaneAnswer) -> bytes:
        """The bytes to send; then the next request may come."""
        if not self._answering:
            raise LaneProtocolError("an answer to no request")
        self._answering = False
        return _ANSWER.pack(answer.code, len(answer.payload)) + answer.payload


class ClientEnd:
    """Sends a call, then receives its answer, and so on."""

    def __init__(self) -> None:
        self._frame = _Frame(_ANSWER, _CODES)
        self._waiting = False

    @property
    def waiting(self) -> bool:
        """Whether a call is under way."""
        return self._waiting

    def call(self, method: int, timeout_ms: int, message: bytes) -> bytes:
        """The bytes to send for one call."""
        if self._waiting:
            raise LaneProtocolError("a second call before the answer to the first")
        self._waiting = True
        return _REQUEST.pack(method, timeout_ms, len(message)) + message

    def space(self) -> memoryview:
        """Where the next bytes belong."""
        return self._frame.space()

    def received(self, count: int) -> LaneAnswer | None:
        """So many bytes of `space` were filled: the answer, once it is whole."""
        if not self._waiting:
            raise LaneProtocolError("an answer to no call")
        whole = self._frame.received(count)
        if whole is None:
            return None
        self._waiting = False
        (code,), payload = whole
        return LaneAnswer(Code(code), payload)
