"""gRPC reflection, as TensorFlow Serving has it: `grpcurl list`, `describe` and calls without .proto files.

Our stubs are in a package of their own, so that they do not clash with tensorflow-serving-api; what is reflected here
is the same messages under the names of the wire, with the two services that carry them.
"""

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection

from services.pb import tfserving_pb2 as pb

PACKAGE = "tensorflow.serving"

# service -> method -> (request, response)
SERVICES = {
    "PredictionService": {
        "Predict": ("PredictRequest", "PredictResponse"),
        "Classify": ("ClassificationRequest", "ClassificationResponse"),
        "Regress": ("RegressionRequest", "RegressionResponse"),
        "MultiInference": ("MultiInferenceRequest", "MultiInferenceResponse"),
        "GetModelMetadata": ("GetModelMetadataRequest", "GetModelMetadataResponse"),
    },
    "ModelService": {
        "GetModelStatus": ("GetModelStatusRequest", "GetModelStatusResponse"),
        "HandleReloadConfigRequest": ("ReloadConfigRequest", "ReloadConfigResponse"),
    },
}


def add_reflection(server: grpc.Server, *, health: bool) -> None:
    """Offer the services' descriptions on `server`."""
    names = [f"{PACKAGE}.{service}" for service in SERVICES]
    pool = descriptor_pool.DescriptorPool()
    for file in (pb.DESCRIPTOR, *pb.DESCRIPTOR.dependencies):
        if file is not pb.DESCRIPTOR:
            pool.AddSerializedFile(file.serialized_pb)
    pool.Add(_as_on_the_wire())
    if health:
        from grpc_health.v1 import health_pb2

        pool.AddSerializedFile(health_pb2.DESCRIPTOR.serialized_pb)
        names.append(health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server, pool)


def _as_on_the_wire() -> descriptor_pb2.FileDescriptorProto:
    """Our file with TensorFlow Serving's package, and the services."""
    ours = pb.DESCRIPTOR.package
    content = pb.DESCRIPTOR.serialized_pb
    file = descriptor_pb2.FileDescriptorProto.FromString(content)
    file.name, file.package = "tensorflow_serving/apis/services.proto", PACKAGE
    for message in file.message_type:
        _rename(message, f".{ours}.", f".{PACKAGE}.")
    for service, methods in SERVICES.items():
        described = file.service.add(name=service)
        for method, (request, response) in methods.items():
            described.method.add(name=method, input_type=f".{PACKAGE}.{request}", output_type=f".{PACKAGE}.{response}")
    return file


def _rename(message: descriptor_pb2.DescriptorProto, before: str, after: str) -> None:
    for field in message.field:
        if field.type_name.startswith(before):
            field.type_name = after + field.type_name.removeprefix(before)
    for nested in message.nested_type:
        _rename(nested, before, after)
