"""The Open Inference Protocol's model `numbers`: what /v1/read reads, for clients of /v2 and of gRPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from services.core.errors import ServiceError
from services.core.lines.number import NOTHING
from services.core.lines.strip import Strip
from services.gateway.admission.context import Answer, Request
from services.gateway.api.answers import JSON, OCTETS
from services.gateway.api.inference import Inference
from services.gateway.api.intake import Intake
from services.gateway.api.offered_models import PLATFORM, DescribedModel
from services.gateway.api.operations import Operation
from services.gateway.messages.line_options import LineOptions
from services.gateway.messages.oip import LENGTH_HEADER
from services.gateway.messages.oip_numbers import NUMBERS, OUTPUTS, PICTURES, write_numbers_response
from services.gateway.metrics import Metrics
from services.gateway.reading.line_reader import LineReader
from services.gateway.reading.numbers import versions_of


@dataclass(frozen=True, slots=True)
class ReadNumbers:
    """The outputs by name, and the versions that made them."""

    columns: Mapping[str, Sequence[Any]]
    versions: Mapping[str, int]


class NumbersModel:
    """The chain on lines of digits; its version is that of the chain."""

    platform = PLATFORM
    inputs: tuple[dict[str, Any], ...] = (PICTURES,)
    outputs: tuple[dict[str, Any], ...] = OUTPUTS

    def __init__(self, reader: LineReader, chain: DescribedModel, metrics: Metrics, min_confidence: float) -> None:
        """`min_confidence` is for requests that name none."""
        self._reader = reader
        self._chain = chain
        self._metrics = metrics
        self._min_confidence = min_confidence

    async def versions(self) -> tuple[str, ...]:
        """As DescribedModel.versions."""
        return await self._chain.versions()

    async def read(self, request: Request, strips: Sequence[Strip | None], options: LineOptions) -> ReadNumbers:
        """A number for each picture."""
        request.images = len(strips)
        started_s = time.monotonic()
        try:
            read = await self._read(request, strips, options)
        except (ServiceError, asyncio.CancelledError):
            self._metrics.inference_failed(NUMBERS, time.monotonic() - started_s)
            raise
        self._metrics.inferred(NUMBERS, len(strips), time.monotonic() - started_s)
        return read

    async def _read(self, request: Request, strips: Sequence[Strip | None], options: LineOptions) -> ReadNumbers:
        readings = await self._reader.read(
            [None if strip is None else strip.image for strip in strips],
            denoise=options.denoise,
            length=options.length,
            call=request.call,
        )
        least = self._min_confidence if options.min_confidence is None else options.min_confidence
        numbers = [NOTHING if reading is None else reading.number for reading in readings]
        accepted = [
            number.sure(least) and strip is not None and strip.lines == 1
            for number, strip in zip(numbers, strips, strict=True)
        ]
        for sure in accepted:
            self._metrics.number_answered(sure)
        return ReadNumbers(
            columns={
                "number": [number.number for number in numbers],
                "confidence": [number.confidence for number in numbers],
                "accepted": accepted,
            },
            versions={f"{role}_version": found for role, found in versions_of(readings).items() if found is not None},
        )


@dataclass(frozen=True, slots=True)
class Numbers:
    """Asking the model over HTTP; oip.py describes it with the others."""

    model: NumbersModel
    inference: Inference
    intake: Intake

    def operations(self) -> list[Operation]:
        """With and without a version."""
        return [
            Operation("POST", f"/v2/models/{NUMBERS}{version}/infer", self.infer)
            for version in ("", "/versions/<version>")
        ]

    async def infer(self, request: Request) -> Answer:
        """Read a number on each picture."""
        await self.inference.known(NUMBERS, request.arguments.get("version"))
        strips, options, reply = await self.intake.numbers(
            request.body,
            header_length=request.headers.get(LENGTH_HEADER.lower()),
            encoding=request.headers.get("content-encoding"),
            until_s=request.call.deadline.at_s,
        )
        read = await self.model.read(request, strips, options)
        body, header_length = write_numbers_response(reply, read.columns, read.versions)
        headers = () if header_length is None else ((LENGTH_HEADER, str(header_length)),)
        return Answer(200, body, JSON if header_length is None else OCTETS, headers)
