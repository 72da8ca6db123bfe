"""TensorFlow Serving's REST form of the chain: /v1/models/digits:predict, its status and its metadata."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from services.core.errors import NotFoundError
from services.gateway.admission.context import Answer, Request
from services.gateway.api.answers import JSON
from services.gateway.api.intake import Intake
from services.gateway.api.offered_models import CHAIN, CHAIN_VERSION, DIGIT, IMAGES, PROBABILITIES, OfferedModel
from services.gateway.api.operations import Operation
from services.gateway.api.readiness import AVAILABLE
from services.gateway.messages.tfserving import SIGNATURE

METHOD = "tensorflow/serving/predict"
QUICK_IMAGES = 64  # answers for more are written in a thread

_LATEST = "0"  # ovmsclient's default, which means the latest version

_DTYPES = {"FP32": "DT_FLOAT", "INT64": "DT_INT64"}
_OUTPUTS = (PROBABILITIES["name"], DIGIT["name"])


class TfServingRest:
    """The operations of /v1/models."""

    def __init__(self, chain: OfferedModel, intake: Intake) -> None:
        self._chain = chain
        self._intake = intake

    def operations(self) -> list[Operation]:
        """All routes, each with and without a version."""
        actions = {"": ("GET", self.status), "/metadata": ("GET", self.metadata), ":predict": ("POST", self.predict)}
        return [
            Operation(method, f"/v1/models/{CHAIN}{version}{action}", run)
            for action, (method, run) in actions.items()
            for version in ("", "/versions/<version>")
        ]

    async def status(self, request: Request) -> Answer:
        """The state of the one version; `ready` is what KServe's V1 clients look for at this address."""
        _check_version(request)
        ready = bool(await self._chain.versions())
        status = {"error_code": "OK", "error_message": ""}
        version = {"version": CHAIN_VERSION, "state": AVAILABLE if ready else "LOADING", "status": status}
        return _json({"model_version_status": [version], "ready": ready})

    async def metadata(self, request: Request) -> Answer:
        """The signature."""
        _check_version(request)
        return _json(_METADATA)

    async def predict(self, request: Request) -> Answer:
        """Run the chain."""
        _check_version(request)
        images, by_row = await self._intake.predict(
            request.body, encoding=request.headers.get("content-encoding"), until_s=request.call.deadline.at_s
        )
        request.images = len(images)
        outputs = (await self._chain.infer(images, {}, call=request.call)).outputs
        if len(images) <= QUICK_IMAGES:
            return _predicted(outputs, by_row)
        return await asyncio.to_thread(_predicted, outputs, by_row)


def _check_version(request: Request) -> None:
    version = request.arguments.get("version", CHAIN_VERSION)
    if version not in (CHAIN_VERSION, _LATEST):
        raise NotFoundError(f"Could not find version {version[:40]} of model {CHAIN}")


def _predicted(outputs: Mapping[str, np.ndarray], by_row: bool) -> Answer:
    columns = {name: outputs[name] for name in _OUTPUTS}
    if not by_row:
        return _json({"outputs": columns})
    rows = zip(columns["probabilities"], columns["digit"].tolist(), strict=True)
    return _json({"predictions": [dict(zip(_OUTPUTS, row, strict=True)) for row in rows]})


def _tensor_info(tensor: Mapping[str, Any]) -> dict[str, object]:
    sizes = [{"size": str(size), "name": ""} for size in tensor["shape"]]
    return {
        "dtype": _DTYPES[tensor["datatype"]],
        "tensor_shape": {"dim": sizes, "unknown_rank": False},
        "name": tensor["name"],
    }


def _json(value: object) -> Answer:
    return Answer(200, orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY), JSON)


_METADATA = {
    "model_spec": {"name": CHAIN, "signature_name": "", "version": CHAIN_VERSION},
    "metadata": {
        "signature_def": {
            "signature_def": {
                SIGNATURE: {
                    "inputs": {IMAGES["name"]: _tensor_info(IMAGES)},
                    "outputs": {tensor["name"]: _tensor_info(tensor) for tensor in (PROBABILITIES, DIGIT)},
                    "method_name": METHOD,
                }
            }
        }
    },
}
