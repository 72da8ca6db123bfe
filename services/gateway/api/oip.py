"""The Open Inference Protocol under /v2: the chain as model `digits`, and the two models behind it, one by one."""

from __future__ import annotations

import asyncio
import gzip
import math
from collections.abc import Mapping

import orjson

from services import __version__
from services.core.errors import InvalidInputError, ModelUnavailableError, NotFoundError, TooLargeError
from services.gateway.admission.context import Answer, Request
from services.gateway.api.answers import JSON, OCTETS
from services.gateway.api.intake import Intake
from services.gateway.api.offered_models import IMAGES, Inferred, OfferedModel
from services.gateway.api.oip_messages import LENGTH_HEADER, InferRequest, write_infer_response
from services.gateway.api.operations import Operation
from services.gateway.api.readiness import ReadinessCheck
from services.gateway.limits import Limits

GZIP_FROM_BYTES = 1024
GZIP_LEVEL = 1  # float tensors hardly shrink further
QUICK_BYTES = 32 * 1024  # of an answer's numbers: more are written in a thread


class OpenInference:
    """The operations of /v2."""

    def __init__(
        self, models: Mapping[str, OfferedModel], intake: Intake, readiness: ReadinessCheck, limits: Limits
    ) -> None:
        self._models = models
        self._intake = intake
        self._readiness = readiness
        self._limits = limits

    def operations(self) -> list[Operation]:
        """All routes; those of a model are there with and without a version."""
        of_model = {"": ("GET", self.metadata), "/ready": ("GET", self.model_ready), "/infer": ("POST", self.infer)}
        return [
            Operation("GET", "/v2", self.server),
            Operation("GET", "/v2/health/live", self.live),
            Operation("GET", "/v2/health/ready", self.ready),
            *(
                Operation(method, f"/v2/models/<name>{version}{action}", run)
                for action, (method, run) in of_model.items()
                for version in ("", "/versions/<version>")
            ),
        ]

    async def server(self, _request: Request) -> Answer:
        """What this is."""
        return _json({"name": "cleardigits", "version": __version__, "extensions": ["binary_tensor_data"]})

    async def live(self, _request: Request) -> Answer:
        """The process runs."""
        return _json({"live": True})

    async def ready(self, _request: Request) -> Answer:
        """As /readyz, in this protocol's form."""
        found = await self._readiness()
        if not found.ready:
            wrong = [f"{role}: {state}" for role, state in found.models.items() if state != "available"]
            raise ModelUnavailableError("; ".join(wrong) or "the gateway is shutting down")
        return _json({"ready": True})

    async def metadata(self, request: Request) -> Answer:
        """What a model takes and gives."""
        model = await self._find(request)
        document = {
            "name": request.arguments["name"],
            "versions": await model.versions(),
            "platform": model.platform,
            "inputs": [IMAGES],
            "outputs": model.outputs,
        }
        return _json(document)

    async def model_ready(self, request: Request) -> Answer:
        """Whether a model can be asked."""
        model, name = await self._find(request), request.arguments["name"]
        if not await model.versions():
            raise ModelUnavailableError(f"no version of {name} is available")
        return _json({"name": name, "ready": True})

    async def infer(self, request: Request) -> Answer:
        """Run a model."""
        model = await self._find(request)
        asked = await self._intake.infer(
            request.body,
            header_length=request.headers.get(LENGTH_HEADER.lower()),
            encoding=request.headers.get("content-encoding"),
            until_s=request.deadline.at_s,
        )
        request.images = len(asked.images)
        self._check(asked, model)
        made = await model.infer(asked.images, asked.parameters, call=request.call)
        name, version = request.arguments["name"], request.arguments.get("version")
        if version is not None and made.version != version:  # a roll-out between the question and the answer
            raise NotFoundError(f"model {name} has no version {version} any more; {made.version} has taken its place")
        if sum(array.nbytes for array in made.outputs.values()) <= QUICK_BYTES:
            return _written(request, asked, made)
        return await asyncio.to_thread(_written, request, asked, made)

    async def _find(self, request: Request) -> OfferedModel:
        name, version = request.arguments["name"], request.arguments.get("version")
        model = self._models.get(name)
        if model is None:
            raise NotFoundError(f"no model is called {name[:60]}; there are {', '.join(self._models)}")
        if version is not None and version not in (versions := await model.versions()):
            there_is = ", ".join(versions) or "none available"
            raise NotFoundError(f"model {name} has no version {version[:40]}; there is {there_is}")
        return model

    def _check(self, asked: InferRequest, model: OfferedModel) -> None:
        if len(asked.images) > self._limits.max_images:
            raise TooLargeError(f"{len(asked.images)} images; at most {self._limits.max_images} in one request")
        names = [output["name"] for output in model.outputs]
        for output in asked.outputs or ():
            if output not in names:
                raise InvalidInputError(f"no output is called {output[:60]!r}; there are {', '.join(names)}")


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
