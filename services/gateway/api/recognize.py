"""POST /v1/recognize: body -> images -> chain -> answer."""

import time
from dataclasses import dataclass

from services.gateway.admission.context import Answer, Request
from services.gateway.api import answers
from services.gateway.api.answers import ModelNames
from services.gateway.api.bodies import check_type
from services.gateway.api.intake import Intake
from services.gateway.api.operations import Operation
from services.gateway.api.options import Options
from services.gateway.captures.capture import Captures
from services.gateway.metrics import Metrics
from services.gateway.reading.reader import Reader

RECOGNIZE = "/v1/recognize"


@dataclass(frozen=True, slots=True)
class Recognize:
    """The operation and what it works with."""

    intake: Intake
    reader: Reader
    names: ModelNames
    metrics: Metrics
    min_confidence: float  # for requests that name none
    captures: Captures | None = None

    def operations(self) -> list[Operation]:
        """The one route."""
        return [Operation("POST", RECOGNIZE, self.run, _check)]

    async def run(self, request: Request) -> Answer:
        """What the caller gets."""
        started = time.perf_counter()
        images, options = await self.intake.recognize(
            request.body,
            content_type=request.headers.get("content-type"),
            encoding=request.headers.get("content-encoding"),
            query=request.query,
            until_s=request.deadline.at_s,
        )
        spent_s = time.perf_counter() - started
        self.metrics.decoded(spent_s)
        request.timings_ms["decode"] = round(1e3 * spent_s, 2)
        request.images = len(images)
        only_scores = answers.takes_npy(request.headers.get("accept"))
        if not only_scores:
            self.intake.check_answer(len(images), options)
        reading = await self.reader.read(images, denoise=options.denoise, call=request.call)
        if self.captures is not None:
            self.captures.offer(request.id, images, reading)
        for stage, spent_ms in reading.timings_ms.items():
            request.timings_ms[stage] = round(spent_ms, 2)
        if only_scores:
            return answers.scores_only(reading, timings_ms=_timings(request))
        columns = answers.columns_of(reading, images, options, min_confidence=self.min_confidence)
        results = await self.intake.results(columns, options, until_s=request.deadline.at_s)
        return answers.recognized(
            reading, results, names=self.names, request_id=request.id, timings_ms=_timings(request)
        )


def _timings(request: Request) -> dict[str, float]:
    return request.timings_ms | {"total": round(1e3 * (time.monotonic() - request.started_s), 2)}


def _check(request: Request) -> None:
    check_type(request.headers.get("content-type"))
    Options.from_query(request.query)
