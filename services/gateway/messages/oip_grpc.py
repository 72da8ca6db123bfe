"""Open Inference Protocol messages of gRPC: bytes -> checked request, arrays -> bytes, raw and typed contents.

A request with raw_input_contents is answered with raw_output_contents, one with typed contents with typed ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from google.protobuf.message import DecodeError, Message

from services.core.errors import InvalidInputError
from services.core.tensors import packed
from services.gateway.messages.oip import DATATYPE_OF, InferRequest, as_images, check_id, check_input, labels_bytes
from services.gateway.messages.triton import CLASSES, check_classes, classified
from services.pb import open_inference_pb2 as pb

M = TypeVar("M", bound=Message)

_FP32_CONTENTS = 6  # the field's number
_FP32, _UINT8 = np.dtype("<f4"), np.dtype("u1")


@dataclass(frozen=True, slots=True)
class ModelInfer:
    """One ModelInferRequest: which model, what is asked, and the form of the answer."""

    model: str
    version: str  # empty: any
    asked: InferRequest
    raw: bool  # raw contents came, and go back


def parsed(message: type[M], data: bytes) -> M:
    """A message, or InvalidInputError."""
    try:
        return message.FromString(data)
    except DecodeError as exc:
        raise InvalidInputError(f"the message is no {message.DESCRIPTOR.name}") from exc


def read_model_infer(message: pb.ModelInferRequest) -> ModelInfer:
    """Check one request."""
    if len(message.inputs) != 1:
        raise InvalidInputError(f'inputs is one tensor, "images", not {len(message.inputs)}')
    check_id(message.id)
    names, classes = wanted(message)
    asked = InferRequest(
        images=_images(message),
        id=message.id or None,
        parameters=parameters_of(message),
        outputs=names,
        binary={},
        binary_by_default=True,
        classes=classes,
    )
    return ModelInfer(message.model_name, message.model_version, asked, bool(message.raw_input_contents))


def write_model_infer(
    request: ModelInfer, outputs: Mapping[str, np.ndarray], *, version: str, parameters: Mapping[str, object]
) -> bytes:
    """The ModelInferResponse."""
    asked = request.asked
    reply = pb.ModelInferResponse(model_name=request.model, model_version=version, id=asked.id or "")
    tell(reply, parameters)
    for name in asked.outputs or outputs:
        array = outputs[name]
        output = reply.outputs.add(name=name, datatype=DATATYPE_OF[array.dtype], shape=array.shape)
        if name in asked.classes:
            rows = classified(array, asked.classes[name])
            labels = [label for row in rows for label in row]
            output.datatype, output.shape[:] = "BYTES", [len(rows), len(rows[0])]
            if request.raw:
                reply.raw_output_contents.append(labels_bytes(labels))
            else:
                output.contents.bytes_contents.extend(labels)
        elif request.raw:
            reply.raw_output_contents.append(array.tobytes())
        elif array.dtype == _FP32:
            output.contents.MergeFromString(packed(_FP32_CONTENTS, array))
        else:
            output.contents.int64_contents.extend(array.ravel().tolist())
    return reply.SerializeToString()


def wanted(message: pb.ModelInferRequest) -> tuple[tuple[str, ...] | None, dict[str, int]]:
    """The outputs that are asked for, None where all are, and of which so many classes."""
    names = tuple(output.name for output in message.outputs)
    if len(set(names)) != len(names):
        raise InvalidInputError("an output is asked for twice")
    classes = {}
    for output in message.outputs:
        for name, parameter in output.parameters.items():
            if name != CLASSES:
                raise InvalidInputError(f"output parameter {name[:60]!r} is not supported; {CLASSES} is")
            classes[output.name] = check_classes(output.name, _value(name, parameter))
    return names or None, classes


def parameters_of(message: pb.ModelInferRequest) -> dict[str, object]:
    """Those of the request."""
    return {name: _value(name, parameter) for name, parameter in message.parameters.items()}


def tell(reply: pb.ModelInferResponse, parameters: Mapping[str, object]) -> None:
    """Add parameters to a response."""
    for name, value in parameters.items():
        if isinstance(value, bool):
            reply.parameters[name].bool_param = value
        else:
            reply.parameters[name].string_param = str(value)


def _images(message: pb.ModelInferRequest) -> np.ndarray:
    tensor = message.inputs[0]
    dtype, count = check_input(tensor.name, tensor.datatype, list(tensor.shape[:8]))
    if message.raw_input_contents:
        return as_images(_raw(message, dtype, count))
    return as_images(_typed(tensor.contents, dtype, count))


def _raw(message: pb.ModelInferRequest, dtype: np.dtype[Any], count: int) -> np.ndarray:
    if len(message.raw_input_contents) != 1:
        raise InvalidInputError(f"raw_input_contents has {len(message.raw_input_contents)} entries for one input")
    if message.inputs[0].HasField("contents"):
        raise InvalidInputError("an input has either contents or an entry of raw_input_contents, not both")
    data = message.raw_input_contents[0]
    if len(data) != count * dtype.itemsize:
        raise InvalidInputError(
            f"raw_input_contents has {len(data)} bytes; the shape and datatype make {count * dtype.itemsize}"
        )
    return np.frombuffer(data, dtype)


def _typed(contents: pb.InferTensorContents, dtype: np.dtype[Any], count: int) -> np.ndarray:
    field, values = (
        ("uint_contents", contents.uint_contents) if dtype == _UINT8 else ("fp32_contents", contents.fp32_contents)
    )
    if len(values) != count:
        raise InvalidInputError(f"{field} has {len(values)} numbers; the shape makes {count}")
    array = np.array(values)
    if dtype == _UINT8 and array.max() > np.iinfo(np.uint8).max:
        raise InvalidInputError(f"UINT8 contents up to {array.max()}")
    return array.astype(dtype)


def _value(name: str, parameter: pb.InferParameter) -> object:
    field = parameter.WhichOneof("parameter_choice")
    if field is None:
        raise InvalidInputError(f"parameter {name[:60]!r} has no value")
    value: object = getattr(parameter, field)
    return value
