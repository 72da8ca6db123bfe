"""ModelService's calls as functions: the state of versions, and a new configuration for the whole server."""

import logging

from services.core.errors import ServiceError
from services.model_server.calls.prediction import require_spec
from services.model_server.metrics import ServerMetrics
from services.model_server.statuses import code_of
from services.model_server.versions.repository import ModelRepository
from services.pb import tfserving_pb2 as pb

log = logging.getLogger(__name__)


def get_model_status(models: ModelRepository, request: pb.GetModelStatusRequest) -> pb.GetModelStatusResponse:
    """ModelService.GetModelStatus."""
    require_spec(request)
    return pb.GetModelStatusResponse(model_version_status=models.statuses(request.model_spec))


def reload_config(
    models: ModelRepository, metrics: ServerMetrics, request: pb.ReloadConfigRequest
) -> tuple[pb.ReloadConfigResponse, ServiceError | None]:
    """ModelService.HandleReloadConfigRequest. The error is both in the response and the call's own outcome."""
    before = {name: metrics.value(name) for name in request.metric_names}
    response, error = pb.ReloadConfigResponse(status=pb.StatusProto()), None
    try:
        models.reload(request.config)
    except ServiceError as exc:
        log.error("reload refused", extra={"error": str(exc)})
        error = exc
        response.status.error_code, response.status.error_message = code_of(exc).value[0], str(exc)
    for name, value in before.items():
        response.metric.add(name=name, int64_value_increase=metrics.value(name) - value)
    return response, error
