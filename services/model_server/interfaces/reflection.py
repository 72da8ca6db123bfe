"""gRPC reflection, as TensorFlow Serving has it, in threads of its own: an open stream takes none of Predict."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection, reflection_pb2

from services.model_server.interfaces.grpc_api import run_in
from services.pb import tfserving_pb2 as pb
from services.runtime.reflection import METHOD, SERVICES, STREAM_S, STREAMS, copy_of, pool_of, renamed

PACKAGE = "tensorflow.serving"

# service -> method -> (request, response)
REFLECTED = {
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
    """Offer the services' descriptions on `server`. Streams beyond the bound wait; one that lasts is cancelled."""
    files = [*map(copy_of, pb.DESCRIPTOR.dependencies), _as_on_the_wire()]
    names = [*SERVICES, *(f"{PACKAGE}.{service}" for service in REFLECTED)]
    if health:
        from grpc_health.v1 import health_pb2

        files.append(copy_of(health_pb2.DESCRIPTOR))
        names.append(health_pb2.DESCRIPTOR.services_by_name["Health"].full_name)
    servicer = reflection.ReflectionServicer(names, pool_of(files))

    def bounded(requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        end = threading.Timer(STREAM_S, context.cancel)
        end.daemon = True
        end.start()
        try:
            asked = map(reflection_pb2.ServerReflectionRequest.FromString, requests)
            yield from servicer.ServerReflectionInfo(asked, context)
        except DecodeError:
            context.abort(grpc.StatusCode.INTERNAL, "")  # as TensorFlow Serving says it
        finally:
            end.cancel()

    run_in(ThreadPoolExecutor(STREAMS, thread_name_prefix="reflection"), bounded)
    handler: grpc.RpcMethodHandler[Any, Any] = grpc.stream_stream_rpc_method_handler(
        bounded,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler(service, {METHOD: handler}) for service in SERVICES]
    )


def _as_on_the_wire() -> descriptor_pb2.FileDescriptorProto:
    """Our file with TensorFlow Serving's package, and the services."""
    file = renamed(pb.DESCRIPTOR, name="tensorflow_serving/apis/services.proto", package=PACKAGE)
    for service, methods in REFLECTED.items():
        described = file.service.add(name=service)
        for method, (request, response) in methods.items():
            described.method.add(name=method, input_type=f".{PACKAGE}.{request}", output_type=f".{PACKAGE}.{response}")
    return file
