"""POST /v1/recognize: body -> images -> chain -> answer."""

from collections.abc import Mapping
from dataclasses import dataclass

import orjson

from services.gateway.admission.context import Answer, Request
from services.gateway.api import answers
from services.gateway.api.intake import Intake, decoded
from services.gateway.api.operations import Operation
from services.gateway.captures.capture import Captures
from services.gateway.messages.bodies import check_type
from services.gateway.messages.options import Options
from services.gateway.messages.results import check_size
from services.gateway.reading.reader import Reader

RECOGNIZE = "/v1/recognize"


@dataclass(frozen=True, slots=True)
class Recognize:
    """The operation and what it works with."""

    intake: Intake
    reader: Reader
    names: Mapping[str, str]  # of the models, by role
    min_confidence: float  # for requests that name none
    max_answer_bytes: int
    captures: Captures | None = None

    def operations(self) -> list[Operation]:
        """The one route."""
        return [Operation("POST", RECOGNIZE, self.run, _check)]

    async def run(self, request: Request) -> Answer:
        """What the caller gets."""
        images, options = await decoded(self.intake.recognize, request)
        only_scores = answers.takes_npy(request.headers.get("accept"))
        if not only_scores:
            check_size(len(images), options, max_bytes=self.max_answer_bytes)
        reading = await self.reader.read(images, denoise=options.denoise, call=request.call)
        if self.captures is not None:
            self.captures.offer(request.id, images, reading)
        for stage, spent_ms in reading.timings_ms.items():
            request.timings_ms[stage] = round(spent_ms, 2)
        if only_scores:
            return answers.scores_only(request, reading)
        columns = answers.columns_of(reading, images, options, min_confidence=self.min_confidence)
        results = await self.intake.results(columns, options, until_s=request.call.deadline.at_s)
        return answers.answer_of(
            request,
            orjson.Fragment(results),
            count=len(images),
            names=self.names,
            versions={"denoiser": reading.denoiser_version, "classifier": reading.classifier_version},
            degraded=reading.degraded,
        )


def _check(request: Request) -> None:
    check_type(request.headers.get("content-type"))
    Options.from_query(request.query)
