"""The gateway's own routes: recognize, health, readiness, metrics. Request -> arrays -> chain -> answer."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import orjson
from flask import Blueprint, Response, g, request

from services.gateway.admission.context import Visit
from services.gateway.admission.problems import flask_response
from services.gateway.api import answers
from services.gateway.api.answers import Answer, ModelNames
from services.gateway.api.bodies import read_request
from services.gateway.api.options import Options
from services.gateway.api.readiness import Readiness
from services.gateway.limits import Limits
from services.gateway.metrics import CONTENT_TYPE, Metrics
from services.gateway.reading.chain import Reading
from services.gateway.reading.reader import BlockingReader

RECOGNIZE = "/v1/recognize"


@dataclass(frozen=True, slots=True)
class Recognize:
    """The two ends of /v1/recognize, shared by Flask's view and the short cut around it; the chain is in between."""

    limits: Limits
    names: ModelNames
    metrics: Metrics

    def decode(
        self, visit: Visit, body: bytes, content_type: str | None, query: Mapping[str, str]
    ) -> tuple[np.ndarray, Options]:
        """The images of a request and what is asked for them."""
        started = time.perf_counter()
        images, options = read_request(body, content_type, query=query, limits=self.limits)
        spent_s = time.perf_counter() - started
        self.metrics.decoded(spent_s)
        visit.timings_ms["decode"] = round(1e3 * spent_s, 2)
        visit.images = len(images)
        return images, options

    def answer(
        self, visit: Visit, images: np.ndarray, options: Options, reading: Reading, accept: str | None
    ) -> Answer:
        """What the caller gets."""
        for stage, spent_ms in reading.timings_ms.items():
            visit.timings_ms[stage] = round(spent_ms, 2)
        timings_ms = visit.timings_ms | {"total": round(1e3 * (time.monotonic() - visit.started_s), 2)}
        return answers.recognized(
            reading,
            images,
            options,
            names=self.names,
            request_id=visit.request_id,
            timings_ms=timings_ms,
            accept=accept,
        )


def gateway_blueprint(
    recognize: Recognize, reader: BlockingReader, readiness: Callable[[], Readiness], metrics: Metrics
) -> Blueprint:
    """The routes that are the gateway's own."""
    routes = Blueprint("gateway", __name__)

    @routes.post(RECOGNIZE)
    def post_recognize() -> Response:
        visit: Visit = g.visit
        query = request.args.to_dict()
        images, options = recognize.decode(visit, request.get_data(), request.content_type, query)
        reading = reader.read(images, denoise=options.denoise, deadline=g.deadline, metadata=g.metadata)
        answer = recognize.answer(visit, images, options, reading, request.headers.get("Accept"))
        return flask_response(answer)

    @routes.get("/healthz")
    def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @routes.get("/readyz")
    def readyz() -> Response:
        found = readiness()
        document = {"ready": found.ready, "draining": found.draining, "models": found.models}
        return Response(orjson.dumps(document), status=200 if found.ready else 503, mimetype="application/json")

    @routes.get("/metrics")
    def get_metrics() -> Response:
        readiness()  # so that cleardigits_model_available is about now, even where nobody asks /readyz
        return Response(metrics.text(), content_type=CONTENT_TYPE)

    return routes
