"""The Open Inference Protocol under /v2: the chain as model `digits`, and the two models behind it, one by one."""

from __future__ import annotations

import asyncio
import gzip
import math

import orjson

from services.gateway.admission.context import Answer, Request
from services.gateway.api.answers import JSON, OCTETS
from services.gateway.api.inference import NAME, VERSION, Inference, is_quick
from services.gateway.api.intake import Intake
from services.gateway.api.offered_models import Inferred
from services.gateway.api.operations import Operation
from services.gateway.messages.oip import LENGTH_HEADER, InferRequest, write_infer_response
from services.gateway.messages.triton import EXTENSIONS

GZIP_FROM_BYTES = 1024
GZIP_LEVEL = 1  # float tensors hardly shrink further


class OpenInference:
    """The operations of /v2."""

    def __init__(self, inference: Inference, intake: Intake) -> None:
        self._inference = inference
        self._intake = intake

    def operations(self) -> list[Operation]:
        """All routes; those of a model are there with and without a version."""
        of_model = {
            "": ("GET", self.metadata),
            "/ready": ("GET", self.model_ready),
            "/config": ("GET", self.configuration),
            "/stats": ("GET", self.statistics),
            "/infer": ("POST", self.infer),
        }
        return [
            Operation("GET", "/v2", self.server),
            Operation("GET", "/v2/health/live", self.live),
            Operation("GET", "/v2/health/ready", self.ready),
            Operation("GET", "/v2/models/stats", self.all_statistics),
            *(
                Operation(method, f"/v2/models/<name>{version}{action}", run)
                for action, (method, run) in of_model.items()
                for version in ("", "/versions/<version>")
            ),
        ]

    async def server(self, _request: Request) -> Answer:
        """What this is."""
        return _json({"name": NAME, "version": VERSION, "extensions": EXTENSIONS})

    async def live(self, _request: Request) -> Answer:
        """The process runs."""
        return _json({"live": True})

    async def ready(self, _request: Request) -> Answer:
        """As /readyz, in this protocol's form."""
        await self._inference.check_ready()
        return _json({"ready": True})

    async def metadata(self, request: Request) -> Answer:
        """What a model takes and gives."""
        return _json(await self._inference.describe(*_named(request)))

    async def model_ready(self, request: Request) -> Answer:
        """Whether a model can be asked."""
        name, version = _named(request)
        await self._inference.check_model_ready(name, version)
        return _json({"name": name, "ready": True})

    async def configuration(self, request: Request) -> Answer:
        """The same as Triton's configuration."""
        return _json(await self._inference.configuration(*_named(request)))

    async def statistics(self, request: Request) -> Answer:
        """Calls of a model so far, as Triton counts them."""
        return _json({"model_stats": [await self._inference.statistics(*_named(request))]})

    async def all_statistics(self, _request: Request) -> Answer:
        """The same of every model."""
        names = self._inference.names
        return _json({"model_stats": [await self._inference.statistics(name, None) for name in names]})

    async def infer(self, request: Request) -> Answer:
        """Run a model."""
        name, version = _named(request)
        model = await self._inference.find(name, version)
        asked = await self._intake.infer(
            request.body,
            header_length=request.headers.get(LENGTH_HEADER.lower()),
            encoding=request.headers.get("content-encoding"),
            until_s=request.call.deadline.at_s,
        )
        made = await self._inference.infer(request, asked, model, name, version)
        if is_quick(made):
            return _written(request, asked, made)
        return await asyncio.to_thread(_written, request, asked, made)


def _named(request: Request) -> tuple[str, str | None]:
    return request.arguments["name"], request.arguments.get("version")


def _written(request: Request, asked: InferRequest, made: Inferred) -> Answer:
    """The reply, gzipped where the client asks for it and it pays."""
    body, header_length = write_infer_response(
        asked, made.outputs, model=request.arguments["name"], version=made.version, parameters=made.parameters
    )
    headers = [("Vary", "Accept-Encoding")]
    if header_length is not None:
        headers.append((LENGTH_HEADER, str(header_length)))
    if len(body) >= GZIP_FROM_BYTES and _takes_gzip(request.headers.get("accept-encoding", "")):
        body = gzip.compress(body, GZIP_LEVEL)
        headers.append(("Content-Encoding", "gzip"))
    return Answer(200, body, JSON if header_length is None else OCTETS, tuple(headers))


def _takes_gzip(accept_encoding: str) -> bool:
    """Whether the client names gzip, or anything, with a quality above 0."""
    quality_of: dict[str, float] = {}
    for part in accept_encoding.lower().split(","):
        name, _, parameter = part.partition(";")
        said = parameter.strip().removeprefix("q=") if parameter else "1"
        try:
            quality_of[name.strip()] = float(said)
        except ValueError:
            quality_of[name.strip()] = 0.0
    quality = quality_of.get("gzip", quality_of.get("*", 0.0))
    return math.isfinite(quality) and quality > 0


def _json(value: object) -> Answer:
    return Answer(200, orjson.dumps(value), JSON)
