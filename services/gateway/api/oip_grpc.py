"""The Open Inference Protocol over gRPC: the methods of inference.GRPCInferenceService as operations."""

from __future__ import annotations

import asyncio

from google.protobuf.message import Message

from services.core.errors import ModelError
from services.gateway.admission.context import Answer, Request
from services.gateway.api.inference import NAME, VERSION, Inference, is_quick
from services.gateway.api.intake import Intake
from services.gateway.api.offered_models import Inferred
from services.gateway.api.oip_numbers import NumbersModel
from services.gateway.api.operations import Operation
from services.gateway.messages.oip_grpc import ModelInfer, parsed, write_model_infer
from services.gateway.messages.oip_grpc_numbers import NumbersInfer, write_numbers_infer
from services.gateway.messages.oip_numbers import NUMBERS
from services.gateway.messages.triton import GRPC_EXTENSIONS
from services.pb import open_inference_pb2 as pb

SERVICE = "/inference.GRPCInferenceService/"
PROTO = "application/grpc+proto"


class OpenInferenceGrpc:
    """The operations of the service. As in Triton and KServe, what is not ready is an answer, not an error."""

    def __init__(self, inference: Inference, numbers: NumbersModel, intake: Intake) -> None:
        self._inference = inference
        self._numbers = numbers
        self._intake = intake

    def operations(self) -> list[Operation]:
        """All methods. Those whose request says nothing are run without reading it."""
        return [
            Operation("GET", f"{SERVICE}ServerLive", self.live),
            Operation("GET", f"{SERVICE}ServerReady", self.ready),
            Operation("GET", f"{SERVICE}ServerMetadata", self.server),
            Operation("POST", f"{SERVICE}ModelReady", self.model_ready),
            Operation("POST", f"{SERVICE}ModelMetadata", self.metadata),
            Operation("POST", f"{SERVICE}ModelConfig", self.configuration),
            Operation("POST", f"{SERVICE}ModelStatistics", self.statistics),
            Operation("POST", f"{SERVICE}ModelInfer", self.infer),
        ]

    async def live(self, _request: Request) -> Answer:
        """The process runs."""
        return _message(pb.ServerLiveResponse(live=True))

    async def ready(self, _request: Request) -> Answer:
        """As /readyz."""
        try:
            await self._inference.check_ready()
        except ModelError:
            return _message(pb.ServerReadyResponse(ready=False))
        return _message(pb.ServerReadyResponse(ready=True))

    async def server(self, _request: Request) -> Answer:
        """What this is."""
        return _message(pb.ServerMetadataResponse(name=NAME, version=VERSION, extensions=GRPC_EXTENSIONS))

    async def model_ready(self, request: Request) -> Answer:
        """Whether a model can be asked; NOT_FOUND where there is no such model or version."""
        asked = parsed(pb.ModelReadyRequest, request.body)
        try:
            await self._inference.check_model_ready(asked.name, asked.version)
        except ModelError:
            return _message(pb.ModelReadyResponse(ready=False))
        return _message(pb.ModelReadyResponse(ready=True))

    async def metadata(self, request: Request) -> Answer:
        """What a model takes and gives."""
        asked = parsed(pb.ModelMetadataRequest, request.body)
        described = await self._inference.describe(asked.name, asked.version)
        return _message(pb.ModelMetadataResponse(**described))

    async def configuration(self, request: Request) -> Answer:
        """The same as Triton's configuration."""
        asked = parsed(pb.ModelConfigRequest, request.body)
        configuration = await self._inference.configuration(asked.name, asked.version)
        return _message(pb.ModelConfigResponse(config=configuration))

    async def statistics(self, request: Request) -> Answer:
        """Calls so far of the model that is named, or of every one."""
        asked = parsed(pb.ModelStatisticsRequest, request.body)
        names = (asked.name,) if asked.name else self._inference.names
        counted = [await self._inference.statistics(name, asked.version) for name in names]
        return _message(pb.ModelStatisticsResponse(model_stats=counted))

    async def infer(self, request: Request) -> Answer:
        """Run a model."""
        call = await self._intake.model_infer(request.body, until_s=request.call.deadline.at_s)
        if isinstance(call, NumbersInfer):
            await self._inference.known(NUMBERS, call.version)
            read = await self._numbers.read(request, call.strips, call.options)
            return Answer(200, write_numbers_infer(call.reply, read.columns, read.versions), PROTO)
        model = await self._inference.find(call.model, call.version)
        made = await self._inference.infer(request, call.asked, model, call.model, call.version)
        if is_quick(made):
            return _written(call, made)
        return await asyncio.to_thread(_written, call, made)


def _written(call: ModelInfer, made: Inferred) -> Answer:
    body = write_model_infer(call, made.outputs, version=made.version, parameters=made.parameters)
    return Answer(200, body, PROTO)


def _message(message: Message) -> Answer:
    return Answer(200, message.SerializeToString(), PROTO)
