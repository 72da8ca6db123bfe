"""Open Inference Protocol messages: bytes -> checked request, arrays -> bytes, JSON and binary tensors both ways.

A body is JSON, followed, when the header Inference-Header-Content-Length says where the JSON ends, by the raw
little-endian tensors in the order of the inputs. Replies are made the same way for the outputs that ask for it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from services.core.errors import InvalidInputError, TooLargeError
from services.core.pixels import PIXELS, SIDE
from services.gateway.messages.bodies import parse_json
from services.gateway.messages.triton import CLASSES, MOST_CLASS_BYTES, check_classes, classified

MOST_ID = 1000  # characters; it comes back in the answer
JSON_NUMBER_BYTES = 17  # at most, with its comma: -0.0000123456789
MOST = 1e6  # of a pixel: sums over larger ones overflow inside the models, which are then blamed
LENGTH_HEADER = "Inference-Header-Content-Length"
DATATYPES: dict[str, np.dtype[Any]] = {"FP32": np.dtype("<f4"), "UINT8": np.dtype("u1"), "INT64": np.dtype("<i8")}
DATATYPE_OF = {dtype: name for name, dtype in DATATYPES.items()}
_READ = ("FP32", "UINT8")  # what an input may be
_INPUT = "images"
_BATCH_SHAPES = ((SIDE, SIDE, 1), (SIDE, SIDE), (PIXELS,))


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request for inference: its pictures, and which outputs it wants in which form."""

    images: np.ndarray  # (n, 28, 28, 1), FP32 as sent, UINT8 scaled to [0, 1]
    id: str | None
    parameters: Mapping[str, object]
    outputs: tuple[str, ...] | None  # None: all there are
    binary: Mapping[str, bool]  # by output; others follow `binary_by_default`
    binary_by_default: bool
    classes: Mapping[str, int] = field(default_factory=dict)  # by output: the best so many, in the place of all scores


def read_infer_request(body: bytes, header_length: str | None, *, max_depth: int) -> InferRequest:
    """Split, parse and check one body; `header_length` is the value of Inference-Header-Content-Length."""
    value, tensors, request_id = read_head(body, header_length, max_depth=max_depth)
    parameters = an_object(value.get("parameters"), "parameters")
    names, binary, classes = wanted_outputs(value.get("outputs"))
    return InferRequest(
        images=_images(value.get("inputs"), tensors),
        id=request_id,
        parameters=parameters,
        outputs=names,
        binary=binary,
        binary_by_default=a_flag(parameters.get("binary_data_output", False), "binary_data_output"),
        classes=classes,
    )


def read_head(body: bytes, header_length: str | None, *, max_depth: int) -> tuple[dict[str, Any], bytes, str | None]:
    """The JSON of a request, the tensors behind it, and its id."""
    header, tensors = split(body, header_length)
    value = parse_json(header, max_depth=max_depth)
    if not isinstance(value, dict):
        raise InvalidInputError("a request is a JSON object")
    request_id = value.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise InvalidInputError("id is a string")
    check_id(request_id or "")
    return value, tensors, request_id or None


def check_id(request_id: str) -> None:
    """Refuse one that would make the answer large."""
    if len(request_id) > MOST_ID:
        raise InvalidInputError(f"id has {len(request_id)} characters; at most {MOST_ID}")


def check_answer(request: InferRequest, outputs: Sequence[Mapping[str, Any]], *, max_bytes: int) -> None:
    """Refuse an answer that may come to more than `max_bytes`; `outputs` are all that the model has."""
    each = 0
    for output in outputs:
        name = output["name"]
        if request.outputs is None or name in request.outputs:
            is_binary = request.binary.get(name, request.binary_by_default)
            number_bytes = DATATYPES[output["datatype"]].itemsize if is_binary else JSON_NUMBER_BYTES
            if name in request.classes:
                number_bytes = MOST_CLASS_BYTES
            each += number_bytes * math.prod(output["shape"][1:])
    if len(request.images) * each > max_bytes:
        raise TooLargeError(
            f"an answer of {len(request.images)} images with these outputs; at most {max_bytes // each} of them fit:"
            " send fewer, or ask for fewer outputs or for binary ones"
        )


def write_infer_response(
    request: InferRequest,
    outputs: Mapping[str, np.ndarray],
    *,
    model: str,
    version: str,
    parameters: Mapping[str, object],
) -> tuple[bytes, int | None]:
    """The reply's body, and the length of its JSON when tensors follow it."""
    entries: list[dict[str, object]] = []
    tensors: list[bytes] = []
    for name in request.outputs or outputs:
        array = outputs[name]
        is_binary = request.binary.get(name, request.binary_by_default)
        entry: dict[str, object] = {"name": name, "shape": list(array.shape), "datatype": DATATYPE_OF[array.dtype]}
        if name in request.classes:
            rows = classified(array, request.classes[name])
            labels = [label for row in rows for label in row]
            entry |= {"shape": [len(rows), len(rows[0])], "datatype": "BYTES"}
            data: object = labels_bytes(labels) if is_binary else [label.decode() for label in labels]
        else:
            data = array.tobytes() if is_binary else np.ascontiguousarray(array).reshape(-1)
        if isinstance(data, bytes):
            tensors.append(data)
            entry["parameters"] = {"binary_data_size": len(data)}
        else:
            entry["data"] = data
        entries.append(entry)
    reply: dict[str, object] = {"model_name": model, "model_version": version, "outputs": entries}
    if request.id is not None:
        reply["id"] = request.id
    if parameters:
        reply["parameters"] = parameters
    header = orjson.dumps(reply, option=orjson.OPT_SERIALIZE_NUMPY)
    return (header + b"".join(tensors), len(header)) if tensors else (header, None)


def labels_bytes(labels: list[bytes]) -> bytes:
    """A tensor of BYTES: each with its length in front."""
    return b"".join(len(label).to_bytes(4, "little") + label for label in labels)


def split(body: bytes, header_length: str | None) -> tuple[bytes, bytes]:
    """A body's JSON, and the tensors after it."""
    if header_length is None:
        return body, b""
    if not (header_length.isascii() and header_length.isdecimal() and len(header_length) <= 12):
        raise InvalidInputError(f"{LENGTH_HEADER}: {header_length[:40]!r} is not a number of bytes")
    length = int(header_length)
    if length > len(body):
        raise InvalidInputError(f"{LENGTH_HEADER} is {length}, but the body has {len(body)} bytes")
    return body[:length], body[length:]


def _images(inputs: object, tensors: bytes) -> np.ndarray:
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise InvalidInputError(f'inputs is a list of one tensor, "{_INPUT}"')
    entry = inputs[0]
    dtype, count = check_input(entry.get("name"), entry.get("datatype"), entry.get("shape"))
    return as_images(_tensor(entry, dtype, count, tensors))


def check_input(name: object, datatype: object, shape: object) -> tuple[np.dtype[Any], int]:
    """The type of an input's numbers, and how many there are."""
    if name != _INPUT:
        raise InvalidInputError(f'no input is called {shown(name)}; there is "{_INPUT}"')
    if datatype not in _READ:
        raise InvalidInputError(f"datatype {shown(datatype)}: {_INPUT} is {' or '.join(_READ)}")
    if not isinstance(shape, list) or not shape or not all(type(size) is int and 0 <= size < 2**31 for size in shape):
        raise InvalidInputError(f"shape {shown(shape)}: it is a list of sizes")
    if tuple(shape[1:]) not in _BATCH_SHAPES or not shape[0]:
        raise InvalidInputError(f"shape {shown(shape)}: {_INPUT} is [n, {SIDE}, {SIDE}, 1], n at least 1")
    return DATATYPES[str(datatype)], math.prod(shape)


def as_images(array: np.ndarray) -> np.ndarray:
    """The numbers of an input as pictures, UINT8 scaled to [0, 1]; those that no model computes with are refused."""
    array = array.reshape(-1, SIDE, SIDE, 1)
    if array.dtype == np.uint8:
        return array / np.float32(255)
    low, high = float(array.min()), float(array.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InvalidInputError(f"{_INPUT} holds values that are not finite")
    if low < -MOST or high > MOST:
        raise InvalidInputError(f"{_INPUT} holds values from {low:g} to {high:g}; they lie within {MOST:g} of 0")
    return array


def _tensor(entry: dict[str, object], dtype: np.dtype[Any], count: int, tensors: bytes) -> np.ndarray:
    size = an_object(entry.get("parameters"), "parameters of an input").get("binary_data_size")
    if size is None:
        if tensors:
            raise InvalidInputError(f"{len(tensors)} bytes follow the JSON, but no input has a binary_data_size")
        return _numbers(entry.get("data"), dtype, count)
    if "data" in entry:
        raise InvalidInputError("an input has either data or a binary_data_size, not both")
    if type(size) is not int or size != len(tensors):
        raise InvalidInputError(f"binary_data_size is {shown(size)}, but {len(tensors)} bytes follow the JSON")
    if size != count * dtype.itemsize:
        raise InvalidInputError(
            f"binary_data_size is {size}; the shape and datatype make {count * dtype.itemsize} bytes"
        )
    return np.frombuffer(tensors, dtype)


def _numbers(data: object, dtype: np.dtype, count: int) -> np.ndarray:
    """Numbers of a list, flat or nested."""
    try:
        array = np.array(data if isinstance(data, list) else None)
    except (TypeError, ValueError, OverflowError):
        array = np.array(None)
    if array.dtype.kind not in ("iu" if dtype.kind == "u" else "iuf") or array.size != count:
        raise InvalidInputError(f"data is not a list of the {count} {dtype} numbers that the shape makes")
    if dtype == np.uint8 and not (array.min() >= 0 and array.max() <= 255):
        raise InvalidInputError(f"UINT8 data from {array.min()} to {array.max()}")
    with np.errstate(over="ignore"):  # too large for float32 becomes infinite, and is refused as that
        return array.astype(dtype)


def wanted_outputs(outputs: object) -> tuple[tuple[str, ...] | None, dict[str, bool], dict[str, int]]:
    """Names, which are asked for in binary or in JSON, and of which so many classes."""
    if not outputs and outputs in (None, []):
        return None, {}, {}
    if not isinstance(outputs, list) or not all(
        isinstance(o, dict) and isinstance(o.get("name"), str) for o in outputs
    ):
        raise InvalidInputError('outputs is a list of objects with a "name"')
    names = tuple(output["name"] for output in outputs)
    if len(set(names)) != len(names):
        raise InvalidInputError("an output is asked for twice")
    binary, classes = {}, {}
    for name, output in zip(names, outputs, strict=True):
        for parameter, value in an_object(output.get("parameters"), "parameters of an output").items():
            if parameter == CLASSES:
                classes[name] = check_classes(name, value)
            elif parameter == "binary_data":
                binary[name] = a_flag(value, parameter)
            else:
                raise InvalidInputError(
                    f"output parameter {shown(parameter)} is not supported; binary_data and {CLASSES} are"
                )
    return names, binary, classes


def an_object(value: object, name: str) -> dict[str, Any]:
    """An object, empty where there is none."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InvalidInputError(f"{name}: not an object")
    return value


def a_flag(value: object, name: str) -> bool:
    """True or false, nothing else."""
    if not isinstance(value, bool):
        raise InvalidInputError(f"{name} is true or false")
    return value


def shown(value: object) -> str:
    """A value as a message quotes it."""
    return f"{value!r:.60}"
