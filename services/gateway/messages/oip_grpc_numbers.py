"""Open Inference Protocol messages of gRPC for model `numbers`: pictures as BYTES in, numbers as BYTES out.

As with the other models, raw contents are answered with raw ones and typed contents with typed ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.core.budget import Budget
from services.core.errors import InvalidInputError
from services.core.lines.strip import Strip
from services.gateway.limits import Limits
from services.gateway.messages.bodies import Decode, Encoded
from services.gateway.messages.line_bodies import strips_of
from services.gateway.messages.line_options import LineOptions
from services.gateway.messages.oip import check_id
from services.gateway.messages.oip_grpc import ModelInfer, parameters_of, read_model_infer, tell, wanted
from services.gateway.messages.oip_numbers import (
    NUMBERS,
    OUTPUTS,
    Reply,
    check_pictures,
    checked_outputs,
    column_bytes,
    elements,
    numbers_options,
)
from services.pb import open_inference_pb2 as pb

_DATATYPES = {output["name"]: output["datatype"] for output in OUTPUTS}


@dataclass(frozen=True, slots=True)
class NumbersInfer:
    """One ModelInferRequest for numbers; the strip of each picture is None where it shows no line."""

    version: str  # empty: any
    strips: Sequence[Strip | None]
    options: LineOptions
    reply: Reply


def read_call(
    message: pb.ModelInferRequest, *, limits: Limits, budget: Budget | None = None, decode: Decode | None = None
) -> ModelInfer | NumbersInfer:
    """A request for whichever model it names; arguments as of `read_lines`."""
    if message.model_name != NUMBERS:
        return read_model_infer(message)
    if len(message.inputs) != 1:
        raise InvalidInputError(f'inputs is one tensor, "pictures", not {len(message.inputs)}')
    check_id(message.id)
    options = numbers_options(parameters_of(message))
    outputs = checked_outputs(*wanted(message))
    reply = Reply(message.id or None, outputs, dict.fromkeys(outputs, bool(message.raw_input_contents)))
    strips = strips_of(Encoded(_pictures(message), bytes), limits, budget=budget, decode=decode)
    return NumbersInfer(message.model_version, strips, options, reply)


def write_numbers_infer(asked: Reply, columns: Mapping[str, Sequence[Any]], parameters: Mapping[str, object]) -> bytes:
    """The ModelInferResponse."""
    reply = pb.ModelInferResponse(model_name=NUMBERS, model_version="1", id=asked.id or "")
    tell(reply, parameters)
    for name in asked.outputs:
        values = columns[name]
        output = reply.outputs.add(name=name, datatype=_DATATYPES[name], shape=[len(values)])
        if asked.binary[name]:
            reply.raw_output_contents.append(column_bytes(_DATATYPES[name], values))
        elif _DATATYPES[name] == "BYTES":
            output.contents.bytes_contents.extend(value.encode() for value in values)
        elif _DATATYPES[name] == "FP32":
            output.contents.fp32_contents.extend(values)
        else:
            output.contents.bool_contents.extend(values)
    return reply.SerializeToString()


def _pictures(message: pb.ModelInferRequest) -> list[bytes]:
    tensor = message.inputs[0]
    count = check_pictures(tensor.name, tensor.datatype, list(tensor.shape[:8]))
    if not message.raw_input_contents:
        pictures = list(tensor.contents.bytes_contents)
        if len(pictures) != count:
            raise InvalidInputError(f"bytes_contents has {len(pictures)} pictures; the shape makes {count}")
        return pictures
    if len(message.raw_input_contents) != 1:
        raise InvalidInputError(f"raw_input_contents has {len(message.raw_input_contents)} entries for one input")
    if tensor.HasField("contents"):
        raise InvalidInputError("an input has either contents or an entry of raw_input_contents, not both")
    return elements(message.raw_input_contents[0], count)
