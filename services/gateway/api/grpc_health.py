"""grpc.health.v1.Health/Check, for gRPC probes of Kubernetes, load balancers and grpc_health_probe: as /readyz."""

from __future__ import annotations

from services.core.errors import ModelError
from services.gateway.admission.context import Answer, Request
from services.gateway.api.inference import Inference
from services.gateway.api.operations import Operation
from services.gateway.messages.oip_grpc import parsed

CHECK = "/grpc.health.v1.Health/Check"
PROTO = "application/grpc+proto"
WHOLE = ("", "inference.GRPCInferenceService")


class GrpcHealth:
    """The one method; Watch is not offered, and clients that would rather have it take that as an answer."""

    def __init__(self, inference: Inference) -> None:
        self._inference = inference

    def operations(self) -> list[Operation]:
        """Check."""
        return [Operation("POST", CHECK, self.check)]

    async def check(self, request: Request) -> Answer:
        """Of the whole gateway, or of a model by its name; NOT_FOUND for any other."""
        from grpc_health.v1 import health_pb2  # here: most gateways have no gRPC port

        name = parsed(health_pb2.HealthCheckRequest, request.body).service
        status = health_pb2.HealthCheckResponse.SERVING
        try:
            await (self._inference.check_ready() if name in WHOLE else self._inference.check_model_ready(name, ""))
        except ModelError:
            status = health_pb2.HealthCheckResponse.NOT_SERVING
        return Answer(200, health_pb2.HealthCheckResponse(status=status).SerializeToString(), PROTO)
