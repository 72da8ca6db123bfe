"""What any gRPC client expects beside the Open Inference Protocol on the gateway's port: health and reflection."""

import threading
from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import descriptor_pool, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from services.core.errors import ModelUnavailableError
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from services.gateway.server import grpc_reflection
from tests.support.fakes import fake_classifier, fake_denoiser
from tests.support.hosts import grpc_running

CALL_S = 20.0
Code = grpc.StatusCode
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
V1, V1ALPHA = (f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha"))
LIST = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()

TOO_LONG = reflection_pb2.ServerReflectionRequest(file_containing_symbol="x" * 5000).SerializeToString()


@pytest.fixture
def keys(tmp_path) -> str:
    (tmp_path / "keys").write_text("someone " + 64 * "0" + "\n")
    return str(tmp_path / "keys")


@pytest.fixture
def channel(keys) -> Iterator[grpc.Channel]:
    """Of a gateway that asks for keys: probes and descriptions are open all the same, as /readyz and /openapi.yaml."""
    gateway = Gateway(GatewayConfig(api_keys_file=keys), denoiser=fake_denoiser(), classifier=fake_classifier())
    with grpc_running(gateway) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


def health(channel: grpc.Channel, service: str = "") -> int:
    return (
        health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=CALL_S).status
    )


@pytest.mark.parametrize("service", ["", "inference.GRPCInferenceService", "digits", "denoiser", "classifier"])
def test_a_gateway_that_is_ready_is_serving(channel, service):
    assert health(channel, service) == SERVING


def test_health_of_what_is_not_there_is_not_found(channel):
    with pytest.raises(grpc.RpcError) as refused:
        health(channel, "nobody")

    assert refused.value.code() is Code.NOT_FOUND


def test_health_follows_readiness():
    down = fake_classifier(failure=ModelUnavailableError("gone"))
    gateway = Gateway(GatewayConfig(), denoiser=fake_denoiser(), classifier=down)
    with grpc_running(gateway) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        assert [health(channel, name) for name in ("", "classifier", "denoiser")] == [NOT_SERVING, NOT_SERVING, SERVING]


def test_a_client_without_proto_files_calls_by_reflection(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    pool = descriptor_pool.DescriptorPool(database)
    described = {pool.FindServiceByName(name).full_name for name in services}
    ready = pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name["ServerReady"]
    response = message_factory.GetMessageClass(ready.output_type)
    answer = channel.unary_unary(
        f"/{ready.containing_service.full_name}/{ready.name}", response_deserializer=response.FromString
    )(b"", timeout=CALL_S)

    assert services == described
    assert services == {
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert answer.ready


@pytest.mark.parametrize("data", [b"\xff\xff", TOO_LONG], ids=["garbage", "too long"])
@pytest.mark.parametrize("method", [V1, V1ALPHA])
def test_what_is_no_request_of_reflection_is_refused(channel, method, data):
    with pytest.raises(grpc.RpcError) as refused:
        next(channel.stream_stream(method)(iter([data]), timeout=CALL_S))

    assert refused.value.code() is Code.INVALID_ARGUMENT


def test_streams_of_reflection_are_few_and_end(channel, monkeypatch):
    monkeypatch.setattr(grpc_reflection, "STREAM_S", 2.0)
    leave = threading.Event()

    def held_open() -> Iterator[bytes]:
        yield LIST
        leave.wait(CALL_S)

    streams = [channel.stream_stream(V1)(held_open(), timeout=CALL_S) for _ in range(grpc_reflection.STREAMS)]
    try:
        for stream in streams:
            next(stream)
        with pytest.raises(grpc.RpcError) as refused:
            next(channel.stream_stream(V1)(iter([LIST]), timeout=CALL_S))
        with pytest.raises(grpc.RpcError) as ended:
            next(streams[0])
        [stream.code() for stream in streams]
        after = next(channel.stream_stream(V1)(iter([LIST]), timeout=CALL_S))
    finally:
        leave.set()

    assert refused.value.code() is Code.RESOURCE_EXHAUSTED
    assert ended.value.code() is Code.DEADLINE_EXCEEDED
    assert after
