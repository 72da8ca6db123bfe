"""gRPC reflection and health of the model server: `grpcurl list`, `describe` and calls without .proto files."""

from collections.abc import Iterator

import grpc
import pytest
from google.protobuf import descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.model_server import CALL_S, model_server, write_scale_model


@pytest.fixture(scope="module")
def channel(tmp_path_factory) -> Iterator[grpc.Channel]:
    base = tmp_path_factory.mktemp("models") / "scale"
    write_scale_model(base, 1)
    flags = {"model_name": "scale", "model_base_path": str(base)}
    with model_server(**flags, enable_grpc_healthcheck_service=True) as running:
        yield running.channel


def test_it_lists_the_services_and_describes_their_messages(channel):
    database = ProtoReflectionDescriptorDatabase(channel)
    services = set(database.get_services())
    pool = descriptor_pool.DescriptorPool(database)
    predict = pool.FindServiceByName("tensorflow.serving.PredictionService").methods_by_name["Predict"]
    spec = predict.input_type.fields_by_name["model_spec"].message_type

    assert services == {
        "tensorflow.serving.PredictionService",
        "tensorflow.serving.ModelService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert {pool.FindServiceByName(name).full_name for name in services} == services  # as `grpcurl describe` does
    assert predict.output_type.full_name == "tensorflow.serving.PredictResponse"
    assert {field.name: field.number for field in spec.fields} == {
        "name": 1,
        "version": 2,
        "version_label": 4,
        "signature_name": 3,
    }


def test_v1_answers_as_v1alpha(channel):
    """Newer clients ask for v1 first, some for nothing else."""
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="tensorflow.serving.PredictRequest")
    v1, v1alpha = (
        next(
            channel.stream_stream(
                f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
                response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
            )(iter([asked.SerializeToString()]), timeout=CALL_S)
        )
        for version in ("v1", "v1alpha")
    )

    assert v1 == v1alpha
    assert len(v1.file_descriptor_response.file_descriptor_proto) == 3  # with Any and the wrappers


@pytest.mark.parametrize(
    "method", ["grpc.health.v1.Health/Check", "grpc.reflection.v1.ServerReflection/ServerReflectionInfo"]
)
def test_bytes_that_are_no_request_are_refused_without_a_traceback(channel, method, caplog):
    """As TensorFlow Serving refuses them; grpcio would log a traceback for each."""
    with pytest.raises(grpc.RpcError) as refused:
        channel.unary_unary(f"/{method}")(b"\xff\xff", timeout=CALL_S)

    assert (refused.value.code(), refused.value.details()) == (grpc.StatusCode.INTERNAL, "")
    assert not caplog.records
