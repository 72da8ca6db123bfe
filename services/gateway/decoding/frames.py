"""What the gateway and a decoder process say to each other: a JSON head, then bytes and arrays as they lie in memory.

Nothing is pickled: a decoder that a hostile picture took over must not be able to run code in the gateway.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

PREFIX = struct.Struct("<IQ")  # length of the head, length of all parts together
MAX_HEAD_BYTES = 1 << 20

Part = bytes | bytearray | memoryview | np.ndarray

_DTYPES: dict[str, np.dtype[Any]] = {
    "u1": np.dtype("u1"),
    "f4": np.dtype("<f4"),
    "f8": np.dtype("<f8"),
    "i8": np.dtype("<i8"),
    "b1": np.dtype("?"),
}
_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


@dataclass(frozen=True, slots=True)
class Frame:
    """One message: a JSON object and the parts that go with it; bytes come out as memoryviews."""

    head: Mapping[str, Any]
    parts: Sequence[Part] = field(default_factory=tuple)


def written(frame: Frame) -> list[bytes | memoryview]:
    """The buffers to send, in order; parts are not copied unless they lie scattered."""
    kinds: list[list[Any]] = []
    buffers: list[bytes | memoryview] = []
    for part in frame.parts:
        if isinstance(part, np.ndarray):
            part = np.ascontiguousarray(part)
            kinds.append([_NAMES[part.dtype], list(part.shape)])
            if part.size:
                buffers.append(part.data.cast("B"))
        else:
            kinds.append(["bytes", [len(part)]])
            buffers.append(memoryview(part))
    head = orjson.dumps({"head": frame.head, "parts": kinds}, option=orjson.OPT_SERIALIZE_NUMPY)
    return [PREFIX.pack(len(head), sum(map(len, buffers))) + head, *buffers]


def sizes(prefix: bytes | bytearray, *, most_bytes: int) -> tuple[int, int]:
    """Lengths of head and parts; ValueError if they are more than may come."""
    head_bytes, part_bytes = PREFIX.unpack(prefix)
    if head_bytes > MAX_HEAD_BYTES or part_bytes > most_bytes:
        raise ValueError(f"a frame of {head_bytes} + {part_bytes} bytes")
    return head_bytes, part_bytes


def read(head: bytes | bytearray, data: bytes | bytearray) -> Frame:
    """The frame whose head and parts have arrived; ValueError if they do not fit each other."""
    value = orjson.loads(head)
    view, at = memoryview(data), 0
    parts: list[Part] = []
    for kind, shape in value["parts"]:
        dtype = _DTYPES.get(kind)
        size = math.prod(shape) * (1 if dtype is None else dtype.itemsize)
        if size < 0 or size > len(data) - at:
            raise ValueError(f"a part of {size} bytes at {at} of {len(data)}")
        piece = view[at : at + size]
        parts.append(piece if dtype is None else np.frombuffer(piece, dtype).reshape(shape))
        at += size
    return Frame(value["head"], parts)
