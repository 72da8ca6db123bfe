"""POST /v1/read: body -> pictures of lines -> strips -> numbers -> answer."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.core.lines.number import NOTHING
from services.core.lines.strip import Strip
from services.gateway.admission.context import Answer, Request
from services.gateway.api.answers import answer_of
from services.gateway.api.intake import Intake, decoded
from services.gateway.api.operations import Operation
from services.gateway.messages.bodies import check_type
from services.gateway.messages.line_options import LINE_DEFAULTS, LineOptions
from services.gateway.messages.results import data_url
from services.gateway.metrics import Metrics
from services.gateway.reading.line_reader import LineReader
from services.gateway.reading.numbers import LineReading, versions_of

READ = "/v1/read"
STAGES = ("denoise", "segment", "classify")


@dataclass(frozen=True, slots=True)
class Read:
    """The operation and what it works with."""

    intake: Intake
    reader: LineReader
    names: Mapping[str, str]  # of the models, by role
    metrics: Metrics
    min_confidence: float  # for requests that name none

    def operations(self) -> list[Operation]:
        """The one route."""
        return [Operation("POST", READ, self.run, _check)]

    async def run(self, request: Request) -> Answer:
        """What the caller gets."""
        strips, options = await decoded(self.intake.read, request)
        readings = await self.reader.read(
            [None if strip is None else strip.image for strip in strips],
            denoise=options.denoise,
            length=options.length,
            call=request.call,
        )
        for stage in STAGES:
            spent_ms = sum(reading.timings_ms[stage] for reading in readings if reading is not None)
            request.timings_ms[stage] = round(spent_ms, 2)
        if options.include & {"denoised", "input"}:
            return await asyncio.to_thread(self._answer, request, strips, readings, options)
        return self._answer(request, strips, readings, options)

    def _answer(
        self,
        request: Request,
        strips: Sequence[Strip | None],
        readings: Sequence[LineReading | None],
        options: LineOptions,
    ) -> Answer:
        least = self.min_confidence if options.min_confidence is None else options.min_confidence
        results = [
            {"index": index, **_result(strip, reading, options, least)}
            for index, (strip, reading) in enumerate(zip(strips, readings, strict=True))
        ]
        for result in results:
            self.metrics.number_answered(bool(result["accepted"]))
        return answer_of(
            request,
            results,
            count=len(results),
            names=self.names,
            versions=versions_of(readings),
            degraded=any(reading is not None and reading.degraded for reading in readings),
        )


def _result(
    strip: Strip | None, reading: LineReading | None, options: LineOptions, min_confidence: float
) -> dict[str, object]:
    number = NOTHING if reading is None else reading.number
    lines = 0 if strip is None else strip.lines
    result: dict[str, object] = {
        "number": number.number,
        "confidence": round(number.confidence, 6),
        "accepted": number.sure(min_confidence) and lines == 1,
        "denoise": "skipped" if reading is None or reading.denoiser_version is None else "applied",
        "lines": lines,
    }
    digits: list[dict[str, object]] = [
        {"digit": each.digit, "confidence": round(each.confidence, 6), "is_digit": round(each.is_digit, 6)}
        for each in number.digits
    ]
    if strip is not None and "boxes" in options.include:
        boxes = strip.in_picture(np.array([each.box for each in number.digits], np.float32).reshape(-1, 4))
        for digit, box in zip(digits, boxes, strict=True):
            digit["box"] = dict(zip(("x", "y", "width", "height"), box, strict=True))
    result["digits"] = digits
    if "alternatives" in options.include:
        result["alternatives"] = [
            {"number": rival, "probability": round(probability, 6)} for rival, probability in number.alternatives
        ]
    if strip is not None and "input" in options.include:
        result["input"] = data_url(strip.image)
    if reading is not None and reading.denoiser_version is not None and "denoised" in options.include:
        result["denoised"] = data_url(reading.cleaned)
    if lines > 1:
        result["hint"] = f"{lines} lines of ink: send one at a time; the heaviest was read"
    return result


def _check(request: Request) -> None:
    check_type(request.headers.get("content-type"))
    LINE_DEFAULTS.updated(request.query)
