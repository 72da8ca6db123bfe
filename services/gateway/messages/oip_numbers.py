"""Messages of the Open Inference Protocol for model `numbers`: pictures as BYTES in, numbers as BYTES out.

The input `pictures` is a tensor (n, 1) or (n) of BYTES: files that /v1/read takes, base64 where the tensor is in
JSON. The parameters of the request are options of /v1/read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from services.core.budget import Budget
from services.core.errors import InvalidInputError
from services.core.lines.strip import Strip
from services.gateway.limits import Limits
from services.gateway.messages.bodies import Decode, Encoded, from_base64
from services.gateway.messages.line_bodies import strips_of
from services.gateway.messages.line_options import LINE_DEFAULTS, LineOptions
from services.gateway.messages.oip import a_flag, an_object, labels_bytes, read_head, shown, wanted_outputs
from services.gateway.messages.triton import is_own

NUMBERS = "numbers"
PICTURES: dict[str, Any] = {"name": "pictures", "datatype": "BYTES", "shape": [-1, 1]}
OUTPUTS: tuple[dict[str, Any], ...] = (
    {"name": "number", "datatype": "BYTES", "shape": [-1]},
    {"name": "confidence", "datatype": "FP32", "shape": [-1]},
    {"name": "accepted", "datatype": "BOOL", "shape": [-1]},
)
PARAMETERS = ("length", "denoise", "min_confidence")  # the options of /v1/read that change these outputs
_BINARY = "binary_data_output"
_LENGTH_BYTES = 4  # in front of each element


@dataclass(frozen=True, slots=True)
class Reply:
    """How the answer is wanted."""

    id: str | None
    outputs: tuple[str, ...]
    binary: Mapping[str, bool]  # by output


def read_numbers_request(
    body: bytes,
    header_length: str | None,
    *,
    limits: Limits,
    budget: Budget | None = None,
    decode: Decode | None = None,
) -> tuple[list[Strip | None], LineOptions, Reply]:
    """The strip of each picture, the options, and how to reply; arguments as of `read_lines`."""
    value, tensors, request_id = read_head(body, header_length, max_depth=limits.max_json_depth)
    parameters = an_object(value.get("parameters"), "parameters")
    binary_by_default = a_flag(parameters.pop(_BINARY, False), _BINARY)
    options = numbers_options(parameters)
    names, binary, classes = wanted_outputs(value.get("outputs"))
    outputs = checked_outputs(names, classes)
    reply = Reply(request_id, outputs, {name: binary.get(name, binary_by_default) for name in outputs})
    pictures = _pictures(value.get("inputs"), tensors)
    return strips_of(pictures, limits, budget=budget, decode=decode), options, reply


def write_numbers_response(
    reply: Reply, columns: Mapping[str, Sequence[Any]], parameters: Mapping[str, Any]
) -> tuple[bytes, int | None]:
    """The body, and the length of its JSON when tensors follow it."""
    entries: list[dict[str, object]] = []
    tensors: list[bytes] = []
    datatypes = {output["name"]: output["datatype"] for output in OUTPUTS}
    for name in reply.outputs:
        values = columns[name]
        entry: dict[str, object] = {"name": name, "shape": [len(values)], "datatype": datatypes[name]}
        if reply.binary[name]:
            tensor = column_bytes(datatypes[name], values)
            tensors.append(tensor)
            entry["parameters"] = {"binary_data_size": len(tensor)}
        else:
            entry["data"] = list(values)
        entries.append(entry)
    answer: dict[str, object] = {"model_name": NUMBERS, "model_version": "1", "outputs": entries}
    if reply.id is not None:
        answer["id"] = reply.id
    if parameters:
        answer["parameters"] = parameters
    header = orjson.dumps(answer)
    return header + b"".join(tensors), len(header) if tensors else None


def numbers_options(parameters: Mapping[str, object]) -> LineOptions:
    """A request's parameters as options of /v1/read; those of Triton itself mean nothing here."""
    given = {name: value for name, value in parameters.items() if not is_own(name)}
    if unknown := given.keys() - set(PARAMETERS):
        raise InvalidInputError(f"no parameter is called {shown(min(unknown))}; there are {', '.join(PARAMETERS)}")
    return LINE_DEFAULTS.updated(given)


def checked_outputs(names: tuple[str, ...] | None, classes: Mapping[str, int]) -> tuple[str, ...]:
    """The outputs that are asked for; all where `names` is None."""
    known = [output["name"] for output in OUTPUTS]
    for name in names or ():
        if name not in known:
            raise InvalidInputError(f"no output is called {shown(name)}; there are {', '.join(known)}")
        if name in classes:
            raise InvalidInputError(f"output {name} has no classes")
    return names or tuple(known)


def check_pictures(name: object, datatype: object, shape: object) -> int:
    """How many pictures the input holds."""
    if name != PICTURES["name"] or datatype != "BYTES":
        raise InvalidInputError(f"the input is pictures of BYTES, not {shown(name)} of {shown(datatype)}")
    if (
        not isinstance(shape, list)
        or not all(type(size) is int and 0 < size < 2**31 for size in shape)
        or len(shape) not in (1, 2)
        or shape[1:] not in ([], [1])
    ):
        raise InvalidInputError(f"shape {shown(shape)}: pictures is [n] or [n, 1], n at least 1")
    return math.prod(shape)


def column_bytes(datatype: str, values: Sequence[Any]) -> bytes:
    """An output as a raw tensor."""
    if datatype == "BYTES":
        return labels_bytes([value.encode() for value in values])
    return np.array(values, np.dtype("<f4") if datatype == "FP32" else np.bool_).tobytes()


def _pictures(inputs: object, tensors: bytes) -> Encoded:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidInputError('inputs is a list of one tensor, "pictures"')
    entry = inputs[0]
    count = check_pictures(entry.get("name"), entry.get("datatype"), entry.get("shape"))
    size = an_object(entry.get("parameters"), "parameters of an input").get("binary_data_size")
    if size is None:
        return _from_json(entry.get("data"), tensors, count)
    if "data" in entry or type(size) is not int or size != len(tensors):
        raise InvalidInputError(f"binary_data_size is {shown(size)}, but {len(tensors)} bytes follow the JSON")
    return Encoded(elements(tensors, count), bytes)


def _from_json(data: object, tensors: bytes, count: int) -> Encoded:
    if tensors:
        raise InvalidInputError(f"{len(tensors)} bytes follow the JSON, but no input has a binary_data_size")
    if isinstance(data, list) and all(isinstance(row, list) and len(row) == 1 for row in data):
        data = [row[0] for row in data]
    if not isinstance(data, list) or len(data) != count:
        raise InvalidInputError(f"data is not a list of the {count} pictures that the shape makes")
    return Encoded(data, from_base64)


def elements(tensors: bytes, count: int) -> list[bytes]:
    """BYTES in binary: each with its length, 4 bytes little-endian, in front."""
    found: list[bytes] = []
    at = 0
    while at < len(tensors) and len(found) < count:
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(tensors[at:start], "little")
        found.append(tensors[start:at])
    if at != len(tensors) or len(found) != count:
        raise InvalidInputError(f"the tensor does not hold the {count} pictures that its shape makes")
    return found
