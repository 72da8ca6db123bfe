"""What runs in a decoder process, by name: bodies of requests -> arrays, arrays -> large answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import cv2
import numpy as np

from services.core.budget import LARGE_BYTES, Budget
from services.core.compression import inflate, is_encoded
from services.core.lines.strip import Strip
from services.gateway.decoding.frames import Frame, Part
from services.gateway.decoding.process import Allowance
from services.gateway.limits import Limits
from services.gateway.messages.bodies import read_request
from services.gateway.messages.line_bodies import read_lines
from services.gateway.messages.line_options import LineOptions
from services.gateway.messages.oip import InferRequest, read_infer_request
from services.gateway.messages.oip_numbers import read_numbers_request
from services.gateway.messages.options import options_of, told
from services.gateway.messages.results import Columns, results_json
from services.gateway.messages.tfserving import read_predict_body


@dataclass(frozen=True, slots=True)
class _Work:
    """A body, unpacked, and what reading it may cost."""

    body: bytes
    limits: Limits
    budget: Budget

    @classmethod
    def of(cls, parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> _Work:
        limits = Limits(**arguments["limits"])
        body, encoding = bytes(parts.pop()), arguments["encoding"]
        if is_encoded(encoding):
            body = inflate(body, encoding, max_bytes=limits.max_body_bytes)
        if len(body) > LARGE_BYTES // 8:  # JSON takes several times its size
            allowance.alone()
        return cls(body, limits, limits.budget(allowance.until_s, allowance.alone))


def _recognize(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    work = _Work.of(parts, arguments, allowance)
    images, options = read_request(
        work.body, arguments["content_type"], query=arguments["query"], limits=work.limits, budget=work.budget
    )
    return Frame({"options": told(options)}, [images])


def _read(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    work = _Work.of(parts, arguments, allowance)
    return _lines(
        *read_lines(
            work.body, arguments["content_type"], query=arguments["query"], limits=work.limits, budget=work.budget
        )
    )


def _numbers(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    work = _Work.of(parts, arguments, allowance)
    strips, options, reply = read_numbers_request(
        work.body, arguments["header_length"], limits=work.limits, budget=work.budget
    )
    return _lines(strips, options, reply=asdict(reply))


def _lines(strips: Sequence[Strip | None], options: LineOptions, **more: object) -> Frame:
    found = [None if strip is None else strip.described() for strip in strips]
    head = {"options": asdict(options) | {"include": sorted(options.include)}, "strips": found, **more}
    return Frame(head, [strip.image for strip in strips if strip is not None])


def _infer(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    work = _Work.of(parts, arguments, allowance)
    asked = read_infer_request(work.body, arguments["header_length"], max_depth=work.limits.max_json_depth)
    return Frame(_fields(asked), [asked.images])


def _model_infer(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    # Most gateways serve no gRPC, and load no protobuf in decoders.
    from services.gateway.messages.oip_grpc import parsed
    from services.gateway.messages.oip_grpc_numbers import NumbersInfer, read_call
    from services.pb import open_inference_pb2 as pb

    work = _Work.of(parts, arguments, allowance)
    call = read_call(parsed(pb.ModelInferRequest, work.body), limits=work.limits, budget=work.budget)
    if isinstance(call, NumbersInfer):
        return _lines(call.strips, call.options, reply=asdict(call.reply), version=call.version)
    head = {"model": call.model, "version": call.version, "raw": call.raw, "asked": _fields(call.asked)}
    return Frame(head, [call.asked.images])


def _fields(asked: InferRequest) -> dict[str, object]:
    """All but the images."""
    return {
        "id": asked.id,
        "parameters": asked.parameters,
        "outputs": asked.outputs,
        "binary": asked.binary,
        "binary_by_default": asked.binary_by_default,
        "classes": asked.classes,
    }


def _predict(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    work = _Work.of(parts, arguments, allowance)
    images, by_row = read_predict_body(work.body, work.limits, work.budget)
    return Frame({"by_row": by_row}, [images])


def _results(parts: list[Part], arguments: Mapping[str, Any], allowance: Allowance) -> Frame:
    if sum(part.nbytes for part in parts if isinstance(part, np.ndarray)) > LARGE_BYTES:
        allowance.alone()
    names = arguments["columns"]
    arrays: list[Any] = list(parts)
    columns = Columns(**dict(zip(names, arrays, strict=False)), denoised=arrays[len(names) :])
    return Frame({}, [results_json(columns, options_of(arguments["options"]))])


@cache
def warm_up() -> None:
    """Read a picture as a digit and as a line: what OpenCV and NumPy import and make ready at first use, forks share.

    Without it a decoder's first picture took 28 to 40 ms of CPU, for the most part np.quantile's import of numpy.ma;
    with it 8 to 9, and the next one 3 to 5.
    """
    picture = np.full((64, 96), 250, np.uint8)
    cv2.line(picture, (30, 12), (30, 52), 20, 4)
    cv2.line(picture, (60, 12), (60, 52), 20, 4)
    png = cv2.imencode(".png", picture)[1].tobytes()
    limits = asdict(Limits())
    asked = {"limits": limits, "encoding": "", "content_type": "image/png", "query": {}}
    for task in (_recognize, _read):
        task([png], asked, Allowance(math.inf))


TASKS = {
    "recognize": _recognize,
    "read": _read,
    "numbers": _numbers,
    "infer": _infer,
    "model_infer": _model_infer,
    "predict": _predict,
    "results": _results,
}
