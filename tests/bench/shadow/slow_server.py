"""A shadow's model server that takes half a second for each call: `python -m tests.bench.shadow.slow_server PORT`."""

import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np

from services.core.tensors import to_proto
from services.pb import tfserving_pb2 as pb

TAKES_S = 0.5


def predict(request: pb.PredictRequest, context: grpc.ServicerContext) -> pb.PredictResponse:
    """Every Predict, as a denoiser and a classifier in one."""
    count = request.inputs["images"].tensor_shape.dim[0].size
    time.sleep(TAKES_S)
    response = pb.PredictResponse()
    response.model_spec.version.value = 1
    response.outputs["denoised"].CopyFrom(to_proto(np.zeros((count, 28, 28, 1), np.float32)))
    response.outputs["probabilities"].CopyFrom(to_proto(np.full((count, 10), 0.1, np.float32)))
    return response


if __name__ == "__main__":
    handler = grpc.unary_unary_rpc_method_handler(
        predict, pb.PredictRequest.FromString, pb.PredictResponse.SerializeToString
    )
    server = grpc.server(ThreadPoolExecutor(4))
    service = grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})
    server.add_generic_rpc_handlers((service,))
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()
