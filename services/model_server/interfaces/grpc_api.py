"""The gRPC interface: method paths -> calls, errors -> status codes, outcomes -> metrics."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import grpc
from google.protobuf.message import Message

from services.core.errors import ServiceError
from services.model_server.calls.counted import Call, CallCounter, parse
from services.model_server.calls.examples import Examples
from services.model_server.calls.model_service import get_model_status, reload_config
from services.model_server.calls.prediction import PredictionCalls
from services.model_server.metrics import ServerMetrics
from services.model_server.statuses import code_of, message_of
from services.model_server.versions.repository import ModelRepository
from services.pb import tfserving_pb2 as pb

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
_FOR_EVER_S = 365 * 24 * 3600.0


def handlers(
    prediction: PredictionCalls,
    examples: Examples,
    models: ModelRepository,
    metrics: ServerMetrics,
    control: ThreadPoolExecutor,
) -> list[grpc.GenericRpcHandler]:
    """Both services; what probes ask is answered in `control`, so it never waits behind predictions."""
    counted = CallCounter(models, metrics, "GRPC")
    prediction_service = {
        "Predict": unary(
            counted("Predict", lambda request, deadline: prediction.predict(request, deadline=deadline)),
            pb.PredictRequest,
        ),
        "Classify": unary(
            counted("Classify", lambda request, deadline: examples.classify(request, deadline=deadline)),
            pb.ClassificationRequest,
        ),
        "Regress": unary(
            counted("Regress", lambda request, deadline: examples.regress(request, deadline=deadline)),
            pb.RegressionRequest,
        ),
        "MultiInference": unary(
            lambda request, deadline: examples.multi_inference(request, deadline=deadline), pb.MultiInferenceRequest
        ),
        "GetModelMetadata": unary(
            lambda request, _: prediction.metadata(request), pb.GetModelMetadataRequest, pool=control
        ),
    }
    model_service = {
        "GetModelStatus": unary(
            lambda request, _: get_model_status(models, request), pb.GetModelStatusRequest, pool=control
        ),
        "HandleReloadConfigRequest": unary(
            lambda request, _: _reload(models, metrics, request), pb.ReloadConfigRequest
        ),
    }
    return [
        grpc.method_handlers_generic_handler(PREDICTION_SERVICE, prediction_service),
        grpc.method_handlers_generic_handler(MODEL_SERVICE, model_service),
    ]


def _reload(
    models: ModelRepository, metrics: ServerMetrics, request: pb.ReloadConfigRequest
) -> pb.ReloadConfigResponse:
    response, error = reload_config(models, metrics, request)
    if error is not None:
        raise error
    return response


def unary(
    call: Call, request_class: type[Message], *, pool: ThreadPoolExecutor | None = None
) -> "grpc.RpcMethodHandler[bytes, Any]":
    """A unary method made from `call`, run in `pool` if one is given: errors become status codes."""

    def handle(data: bytes, context: grpc.ServicerContext) -> Any:
        remaining = context.time_remaining()  # of a call without a deadline: None, or some 292 years
        deadline = None if remaining is None or remaining > _FOR_EVER_S else time.monotonic() + remaining
        try:
            return call(parse(request_class, data), deadline)
        except ServiceError as exc:
            context.abort(code_of(exc), message_of(exc))

    if pool is not None:
        run_in(pool, handle)
    return grpc.unary_unary_rpc_method_handler(handle, response_serializer=_serialized)


def _serialized(response: Message | bytes) -> bytes:
    """Predict writes its own bytes."""
    return response if isinstance(response, bytes) else response.SerializeToString()


def run_in(pool: ThreadPoolExecutor, behavior: Callable[..., Any]) -> None:
    """Let gRPC call `behavior` in `pool` instead of the server's own threads."""
    cast(Any, behavior).experimental_thread_pool = pool  # the name grpcio gives it
