"""A gRPC server made like the model server's, with its messages, that computes nothing: the floor to compare with."""

import sys

import grpc

from services.core.tensors import from_proto, to_proto
from services.model_server.config import ServerConfig
from services.model_server.interfaces.grpc_api import PREDICTION_SERVICE, unary
from services.model_server.interfaces.grpc_server import bind, build_server
from services.pb import tfserving_pb2 as pb


def echo(request: pb.PredictRequest, _: float | None) -> pb.PredictResponse:
    """The input, read and written as the model server does."""
    response = pb.PredictResponse(model_spec=request.model_spec)
    for name, tensor in request.inputs.items():
        response.outputs[name].CopyFrom(to_proto(from_proto(tensor)))
    return response


if __name__ == "__main__":
    config = ServerConfig(port=int(sys.argv[1]), host="127.0.0.1", model_base_path="none")
    handlers = grpc.method_handlers_generic_handler(PREDICTION_SERVICE, {"Predict": unary(echo, pb.PredictRequest)})
    server = build_server(config, [handlers])
    bind(server, config)
    server.start()
    server.wait_for_termination()
