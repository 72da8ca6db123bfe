"""What the Open Inference Protocol does, before it is written as HTTP (oip.py) or gRPC (oip_grpc.py)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from services import __version__
from services.core.errors import InvalidInputError, ModelUnavailableError, NotFoundError, ServiceError, TooLargeError
from services.gateway.admission.context import Request
from services.gateway.api.offered_models import CHAIN, DescribedModel, Inferred, OfferedModel
from services.gateway.api.readiness import ReadinessCheck
from services.gateway.limits import Limits
from services.gateway.messages.oip import InferRequest, check_answer
from services.gateway.messages.oip_numbers import NUMBERS
from services.gateway.messages.triton import can_classify, configuration, statistics
from services.gateway.metrics import Metrics

NAME = "cleardigits"
VERSION = __version__
QUICK_BYTES = 32 * 1024  # of an answer's numbers: more are written in a thread


class Inference:
    """The models by name and version. A version of None or "" is whichever there is."""

    def __init__(
        self,
        models: Mapping[str, OfferedModel],
        numbers: DescribedModel,
        readiness: ReadinessCheck,
        limits: Limits,
        metrics: Metrics,
    ) -> None:
        """`models` are asked here; `numbers`, which is asked with pictures, is only described."""
        self._models = models
        self._described: Mapping[str, DescribedModel] = {**models, NUMBERS: numbers}
        self.names = tuple(self._described)
        self._readiness = readiness
        self._limits = limits
        self._metrics = metrics

    async def check_ready(self) -> None:
        """ModelUnavailableError where /readyz would say no."""
        found = await self._readiness()
        if not found.ready:
            wrong = [f"{role}: {state}" for role, state in found.models.items() if state != "available"]
            raise ModelUnavailableError("; ".join(wrong) or "the gateway is shutting down")

    async def check_model_ready(self, name: str, version: str | None) -> None:
        """NotFoundError where there is no such model, ModelUnavailableError where it cannot be asked."""
        model = await self.known(name, version)
        if not await model.versions():
            raise ModelUnavailableError(f"no version of {name} is available")

    async def describe(self, name: str, version: str | None) -> dict[str, Any]:
        """What a model takes and gives."""
        model = await self.known(name, version)
        return {
            "name": name,
            "versions": await model.versions(),
            "platform": model.platform,
            "inputs": model.inputs,
            "outputs": model.outputs,
        }

    async def configuration(self, name: str, version: str | None) -> dict[str, object]:
        """The same as Triton's configuration of a model."""
        most = self._limits.max_lines if name == NUMBERS else self._limits.max_images
        return configuration(name, await self.describe(name, version), max_images=most)

    async def statistics(self, name: str, version: str | None) -> dict[str, object]:
        """How often a model was called by name, and how long that took; as Triton says it, for its newest version."""
        model = await self.known(name, version)
        newest = next(iter(await model.versions()), "")
        return statistics(name, version or newest, self._metrics.inferences(name))

    async def find(self, name: str, version: str | None) -> OfferedModel:
        """The model to ask with images, if it has that version now."""
        await self.known(name, version)
        return self._models[name]

    async def known(self, name: str, version: str | None) -> DescribedModel:
        """The model, if it has that version now."""
        model = self._described.get(name)
        if model is None:
            raise NotFoundError(f"no model is called {name[:60]}; there are {', '.join(self.names)}")
        if version and version not in (versions := await model.versions()):
            there_is = ", ".join(versions) or "none available"
            raise NotFoundError(f"model {name} has no version {version[:40]}; there is {there_is}")
        return model

    async def infer(
        self, request: Request, asked: InferRequest, model: OfferedModel, name: str, version: str | None
    ) -> Inferred:
        """Run a model that `find` found."""
        request.images = len(asked.images)
        if version and name != CHAIN:  # a model's version that is named goes before any label
            request.call = replace(request.call, label="", version=int(version))
        started_s = time.monotonic()
        try:
            self._check(asked, model)
            made = await model.infer(asked.images, asked.parameters, call=request.call)
        except (ServiceError, asyncio.CancelledError):
            self._metrics.inference_failed(name, time.monotonic() - started_s)
            raise
        self._metrics.inferred(name, len(asked.images), time.monotonic() - started_s)
        if version and made.version != version:  # a roll-out between the question and the answer
            raise NotFoundError(f"model {name} has no version {version} any more; {made.version} has taken its place")
        return made

    def _check(self, asked: InferRequest, model: OfferedModel) -> None:
        if len(asked.images) > self._limits.max_images:
            raise TooLargeError(f"{len(asked.images)} images; at most {self._limits.max_images} in one request")
        outputs = {output["name"]: output for output in model.outputs}
        for name in asked.outputs or ():
            if name not in outputs:
                raise InvalidInputError(f"no output is called {name[:60]!r}; there are {', '.join(outputs)}")
            if name in asked.classes and not can_classify(outputs[name]):
                raise InvalidInputError(f"output {name} has no classes")
        check_answer(asked, model.outputs, max_bytes=self._limits.max_answer_bytes)


def is_quick(made: Inferred) -> bool:
    """Whether the answer is small enough to be written on the event loop."""
    return sum(array.nbytes for array in made.outputs.values()) <= QUICK_BYTES
