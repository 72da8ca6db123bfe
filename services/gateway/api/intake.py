"""Bodies of requests -> arrays, within limits and by the deadline: on the event loop only what is provably small.

Everything else is read in a decoder process, which is killed when the time is up.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sized
from dataclasses import asdict
from typing import Any, TypeVar

import numpy as np

from services.core.compression import inflate, is_encoded
from services.core.errors import TooLargeError
from services.core.images import NotSmallError, SmallPictures
from services.core.lines.strip import Strip
from services.core.small_png import MAX_SIDE
from services.gateway.admission.context import Request
from services.gateway.decoding.decoders import Decoders
from services.gateway.decoding.frames import Frame, Part
from services.gateway.limits import Limits
from services.gateway.messages.bodies import Decode, read_raw, read_request
from services.gateway.messages.line_bodies import read_lines
from services.gateway.messages.line_options import LineOptions
from services.gateway.messages.oip import InferRequest, read_infer_request
from services.gateway.messages.oip_grpc import ModelInfer, parsed
from services.gateway.messages.oip_grpc_numbers import NumbersInfer, read_call
from services.gateway.messages.oip_numbers import Reply, read_numbers_request
from services.gateway.messages.options import Options, options_of, told
from services.gateway.messages.results import Columns, results_json
from services.gateway.messages.tfserving import read_predict_body
from services.pb import open_inference_pb2 as pb

TASKS = "services.gateway.api.tasks"  # for Decoders
SMALL_BYTES = 16 * 1024  # of a body, before and after it is inflated
SMALL_PICTURES = 8  # encoded, in one body or answer
SMALL_RESULTS = 256  # in one answer: 0.2 ms
SMALL_RANKED = 64  # where each names its best digits
RAW_BYTES = SMALL_RESULTS * 28 * 28  # of pixels that only need to be looked at: less than 0.1 ms
SMALL_LINES = 1  # the same for lines: finding one takes a millisecond
SMALL_LINE_PX = 256  # width of the picture of one


Found = TypeVar("Found", bound=tuple[Sized, object])


class Intake:
    """Reads bodies for every operation; one for each event loop."""

    def __init__(self, decoders: Decoders, limits: Limits) -> None:
        self._decoders = decoders
        self._limits = limits
        self._limits_of_task = asdict(limits)

    async def recognize(
        self,
        body: bytes,
        *,
        content_type: str | None,
        encoding: str | None,
        query: Mapping[str, str],
        until_s: float,
    ) -> tuple[np.ndarray, Options]:
        """The images (n, 28, 28, 1) of a request for digits, uint8 or float32 in [0, 1], and its options."""
        small = self._small(body, encoding)
        if small is not None:
            decode = self._small_pictures(SMALL_PICTURES)
            try:
                return read_request(small, content_type, query=query, limits=self._limits, decode=decode)
            except NotSmallError:
                pass
        elif len(body) <= RAW_BYTES and not is_encoded(encoding):
            raw = read_raw(body, content_type, query=query, limits=self._limits)
            if raw is not None:
                return raw
        arguments = {"content_type": content_type, "query": dict(query), **self._common(encoding)}
        answer = await self._decoders.run("recognize", [body], arguments, until_s=until_s)
        return _array(answer.parts), options_of(answer.head["options"])

    async def read(
        self,
        body: bytes,
        *,
        content_type: str | None,
        encoding: str | None,
        query: Mapping[str, str],
        until_s: float,
    ) -> tuple[list[Strip | None], LineOptions]:
        """The strip of each picture of a request for numbers, None where it shows no line, and its options."""
        small = self._small(body, encoding)
        if small is not None:
            decode = self._small_pictures(SMALL_LINES, SMALL_LINE_PX)
            try:
                return read_lines(small, content_type, query=query, limits=self._limits, decode=decode)
            except NotSmallError:
                pass
        arguments = {"content_type": content_type, "query": dict(query), **self._common(encoding)}
        answer = await self._decoders.run("read", [body], arguments, until_s=until_s)
        return _lines(answer)

    async def numbers(
        self, body: bytes, *, header_length: str | None, encoding: str | None, until_s: float
    ) -> tuple[list[Strip | None], LineOptions, Reply]:
        """A request of the Open Inference Protocol for numbers."""
        small = self._small(body, encoding)
        if small is not None:
            decode = self._small_pictures(SMALL_LINES, SMALL_LINE_PX)
            try:
                return read_numbers_request(small, header_length, limits=self._limits, decode=decode)
            except NotSmallError:
                pass
        arguments = {"header_length": header_length, **self._common(encoding)}
        answer = await self._decoders.run("numbers", [body], arguments, until_s=until_s)
        strips, options = _lines(answer)
        return strips, options, _reply(answer.head["reply"])

    async def infer(
        self, body: bytes, *, header_length: str | None, encoding: str | None, until_s: float
    ) -> InferRequest:
        """A request of the Open Inference Protocol."""
        small = self._small(body, encoding)
        if small is not None:
            return read_infer_request(small, header_length, max_depth=self._limits.max_json_depth)
        arguments = {"header_length": header_length, **self._common(encoding)}
        answer = await self._decoders.run("infer", [body], arguments, until_s=until_s)
        return _infer_request(answer.head, answer.parts)

    async def model_infer(self, body: bytes, *, until_s: float) -> ModelInfer | NumbersInfer:
        """A message of gRPC, which has undone its compression: for digits or for numbers."""
        if len(body) <= SMALL_BYTES:
            decode = self._small_pictures(SMALL_LINES, SMALL_LINE_PX)
            try:
                return read_call(parsed(pb.ModelInferRequest, body), limits=self._limits, decode=decode)
            except NotSmallError:
                pass
        answer = await self._decoders.run("model_infer", [body], self._common(None), until_s=until_s)
        head = dict(answer.head)
        if "strips" in head:
            strips, options = _lines(answer)
            return NumbersInfer(head["version"], strips, options, _reply(head["reply"]))
        asked = _infer_request(head.pop("asked"), answer.parts)
        return ModelInfer(asked=asked, **head)

    async def predict(self, body: bytes, *, encoding: str | None, until_s: float) -> tuple[np.ndarray, bool]:
        """The images of a predict request in TensorFlow Serving's REST form, and whether it came by row."""
        small = self._small(body, encoding)
        if small is not None:
            return read_predict_body(small, self._limits)
        answer = await self._decoders.run("predict", [body], self._common(encoding), until_s=until_s)
        return _array(answer.parts), bool(answer.head["by_row"])

    async def results(self, columns: Columns, options: Options, *, until_s: float) -> bytes:
        """The JSON list of results; many, and pictures of more than a few, are written in a decoder process."""
        pictures = columns.images is not None or bool(columns.denoised)
        if len(columns.digits) <= (SMALL_PICTURES if pictures else SMALL_RANKED if options.top_k else SMALL_RESULTS):
            return results_json(columns, options)
        rows = columns.present()
        arguments = {"options": told(options), "columns": list(rows)}
        parts: list[Part] = [*rows.values(), *columns.denoised]
        answer = await self._decoders.run("results", parts, arguments, until_s=until_s)
        return bytes(answer.parts[0])

    def _small(self, body: bytes, encoding: str | None) -> bytes | None:
        """The body as it is read, if that is little; None for a decoder process."""
        if len(body) > SMALL_BYTES:
            return None
        if not is_encoded(encoding):
            return body
        try:
            return inflate(body, encoding or "", max_bytes=SMALL_BYTES)
        except TooLargeError:
            return None

    def _small_pictures(self, most: int, max_width: int = MAX_SIDE) -> Decode:
        return SmallPictures(most, self._limits.max_pixels, max_width).decode

    def _common(self, encoding: str | None) -> dict[str, object]:
        return {"encoding": encoding, "limits": self._limits_of_task}


async def decoded(read: Callable[..., Awaitable[Found]], request: Request) -> Found:
    """What `read`, a method of an intake, finds in the body; with the time that it took."""
    started = time.perf_counter()
    found = await read(
        request.body,
        content_type=request.headers.get("content-type"),
        encoding=request.headers.get("content-encoding"),
        query=request.query,
        until_s=request.call.deadline.at_s,
    )
    request.timings_ms["decode"] = round(1e3 * (time.perf_counter() - started), 2)
    request.images = len(found[0])
    return found


def _lines(answer: Frame) -> tuple[list[Strip | None], LineOptions]:
    images = (part for part in answer.parts if isinstance(part, np.ndarray))
    strips = [each and Strip.from_description(each, next(images)) for each in answer.head["strips"]]
    return strips, LineOptions.from_dict(answer.head["options"])


def _reply(fields: Mapping[str, Any]) -> Reply:
    return Reply(**{**fields, "outputs": tuple(fields["outputs"])})


def _infer_request(fields: Mapping[str, Any], parts: object) -> InferRequest:
    outputs = fields["outputs"]
    return InferRequest(**{**fields, "outputs": None if outputs is None else tuple(outputs), "images": _array(parts)})


def _array(parts: object) -> np.ndarray:
    if not isinstance(parts, list) or len(parts) != 1 or not isinstance(parts[0], np.ndarray):
        raise TypeError("a decoder answers one array")
    return parts[0]
