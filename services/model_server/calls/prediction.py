"""PredictionService's calls as functions: a request message in, the response message out, or a ServiceError."""

import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from services.core.errors import InvalidInputError
from services.core.tensors import map_entry
from services.model_server.metrics import ServerMetrics
from services.model_server.running.runners import Runner
from services.model_server.signatures import Signature, check_method, pick, read_filter, read_inputs
from services.model_server.statuses import Code, StatusError
from services.model_server.versions.repository import ModelRepository
from services.model_server.versions.servable import Servable
from services.pb import tfserving_pb2 as pb

SIGNATURE_DEF = "signature_def"
_SIGNATURE_DEF_TYPE = "type.googleapis.com/tensorflow.serving.SignatureDefMap"


class PredictionCalls:
    """What gRPC and REST share. `deadline` is a time of `time.monotonic`, or None for a caller that waits for ever."""

    def __init__(
        self,
        models: ModelRepository,
        runner: Runner,
        metrics: ServerMetrics,
        *,
        as_content: bool = False,
        check_method: bool = False,
    ) -> None:
        self.models = models
        self._check_method = check_method
        self._runner = runner
        self._metrics = metrics
        self._as_values = not as_content

    def predict(self, request: pb.PredictRequest, *, deadline: float | None) -> bytes:
        """PredictionService.Predict; the bytes of a PredictResponse."""
        require_spec(request)
        with self.models.acquire(request.model_spec) as servable:
            signature = pick(servable.signatures, request.model_spec.signature_name)
            if self._check_method:
                check_method(signature)
            inputs = read_inputs(signature, request.inputs)
            names = read_filter(signature, request.output_filter)
            arrays = self.run(servable, signature, inputs, names, deadline=deadline)
        outputs = pb.PredictResponse.OUTPUTS_FIELD_NUMBER
        parts = [_spec_of_response(servable.name, servable.version, signature.key)]
        for name, array in zip(names, arrays, strict=True):
            parts += map_entry(outputs, name, array, as_values=self._as_values)
        return b"".join(parts)

    def run(
        self,
        servable: Servable,
        signature: Signature,
        inputs: Mapping[str, np.ndarray],
        names: list[str],
        *,
        deadline: float | None,
        api: str = "Predict",
    ) -> list[np.ndarray]:
        """The named outputs for inputs already checked against `signature`."""
        if signature.key not in servable.engine.signature_keys:
            raise StatusError(
                Code.UNIMPLEMENTED,
                f'signature "{signature.key}" is not computed by the {servable.engine.name} engine',
            )
        started = time.perf_counter()
        arrays = self._runner.run(servable, signature, inputs, names, deadline=deadline)
        self._metrics.runtime_latency.observe((servable.name, api, "TF1"), 1e6 * (time.perf_counter() - started))
        return arrays

    def metadata(self, request: pb.GetModelMetadataRequest) -> pb.GetModelMetadataResponse:
        """PredictionService.GetModelMetadata."""
        require_spec(request)
        if not request.metadata_field:
            raise InvalidInputError("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != SIGNATURE_DEF:
                raise InvalidInputError(f"Metadata field {field} is not supported")
        with self.models.acquire(request.model_spec) as servable:
            signatures = pb.SignatureDefMap(signature_def=servable.engine.definitions)
            response = pb.GetModelMetadataResponse(model_spec=resolved_spec(servable, ""))
        packed = response.metadata[SIGNATURE_DEF]
        packed.type_url, packed.value = _SIGNATURE_DEF_TYPE, signatures.SerializeToString()
        return response


def resolved_spec(servable: Servable, signature_key: str) -> pb.ModelSpec:
    """Which model answered: the version is always said, a label never is."""
    return _resolved(servable.name, servable.version, signature_key)


def require_spec(request: Any) -> None:
    """Every request says which model it means."""
    if not request.HasField("model_spec"):
        raise InvalidInputError("Missing ModelSpec")


def _resolved(name: str, version: int, signature_key: str) -> pb.ModelSpec:
    spec = pb.ModelSpec(name=name, signature_name=signature_key)
    spec.version.value = version
    return spec


@lru_cache(maxsize=64)
def _spec_of_response(name: str, version: int, signature_key: str) -> bytes:
    return pb.PredictResponse(model_spec=_resolved(name, version, signature_key)).SerializeToString()
