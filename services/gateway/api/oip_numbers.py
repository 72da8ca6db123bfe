"""The Open Inference Protocol's model `numbers`, over HTTP: what /v1/read reads, for clients of /v2."""

from __future__ import annotations

from dataclasses import dataclass

import orjson

from services.core.lines.number import NOTHING
from services.gateway.admission.context import Answer, Request
from services.gateway.api.answers import JSON, OCTETS
from services.gateway.api.inference import Inference
from services.gateway.api.intake import Intake
from services.gateway.api.oip_messages import LENGTH_HEADER
from services.gateway.api.oip_numbers_messages import NUMBERS, OUTPUTS, PICTURES, write_numbers_response
from services.gateway.api.operations import Operation
from services.gateway.metrics import Metrics
from services.gateway.reading.line_reader import LineReader

ADDRESS = f"/v2/models/{NUMBERS}"


@dataclass(frozen=True, slots=True)
class Numbers:
    """The model's operations and what they work with."""

    inference: Inference  # knows whether the models are ready
    intake: Intake
    reader: LineReader
    metrics: Metrics
    min_confidence: float  # for requests that name none

    def operations(self) -> list[Operation]:
        """The model has one version, 1, and no address for it."""
        return [
            Operation("GET", ADDRESS, self.describe),
            Operation("GET", f"{ADDRESS}/ready", self.ready),
            Operation("POST", f"{ADDRESS}/infer", self.infer),
        ]

    async def describe(self, _request: Request) -> Answer:
        """What it takes and gives."""
        described = {
            "name": NUMBERS,
            "versions": ["1"],
            "platform": "cleardigits_chain",
            "inputs": [PICTURES],
            "outputs": OUTPUTS,
        }
        return Answer(200, orjson.dumps(described), JSON)

    async def ready(self, _request: Request) -> Answer:
        """It can be asked when the chain can."""
        await self.inference.check_ready()
        return Answer(200, orjson.dumps({"name": NUMBERS, "ready": True}), JSON)

    async def infer(self, request: Request) -> Answer:
        """Read a number on each picture."""
        strips, options, reply = await self.intake.numbers(
            request.body,
            header_length=request.headers.get(LENGTH_HEADER.lower()),
            encoding=request.headers.get("content-encoding"),
            until_s=request.deadline.at_s,
        )
        request.images = len(strips)
        readings = await self.reader.read(
            [None if strip is None else strip.image for strip in strips],
            denoise=options.denoise,
            length=options.length,
            call=request.call,
        )
        least = self.min_confidence if options.min_confidence is None else options.min_confidence
        numbers = [NOTHING if reading is None else reading.number for reading in readings]
        accepted = [
            number.sure(least) and strip is not None and strip.lines == 1
            for number, strip in zip(numbers, strips, strict=True)
        ]
        for sure in accepted:
            self.metrics.number_answered(sure)
        read = [reading for reading in readings if reading is not None]
        versions = {
            "denoiser_version": [each.denoiser_version for each in read if each.denoiser_version is not None],
            "classifier_version": [each.classifier_version for each in read if each.classifier_version is not None],
        }
        body, header_length = write_numbers_response(
            reply,
            {
                "number": [number.number for number in numbers],
                "confidence": [number.confidence for number in numbers],
                "accepted": accepted,
            },
            {name: max(found) for name, found in versions.items() if found},
        )
        headers = () if header_length is None else ((LENGTH_HEADER, str(header_length)),)
        return Answer(200, body, JSON if header_length is None else OCTETS, headers)
