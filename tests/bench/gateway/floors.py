"""What the same machine does at best: the parts of a request, each measured alone.

As a command it is a server in a process of its own: `python -m tests.bench.gateway.floors empty|noop PORT`.
"""

import asyncio
import statistics
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import cv2
import grpc
import httptools
import numpy as np
import onnxruntime
import orjson
import uvloop

from services.core.model_digest import newest
from services.core.tensors import from_proto, to_proto
from services.pb import tfserving_pb2 as pb

PREDICT = "/tensorflow.serving.PredictionService/Predict"


class Models:
    """Both models in this process, in the engine the model servers use, one thread a call."""

    def __init__(self, models: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._sessions = [
            onnxruntime.InferenceSession(str(models / name / str(newest(models / name)) / "model.onnx"), options)
            for name in ("denoiser", "classifier")
        ]

    def denoise(self, images: np.ndarray) -> np.ndarray:
        """(n, 28, 28, 1) -> the same, cleaned."""
        return self._sessions[0].run(["denoised"], {"images": images})[0]

    def classify(self, images: np.ndarray) -> np.ndarray:
        """(n, 28, 28, 1) -> (n, 10)."""
        return self._sessions[1].run(["probabilities"], {"images": images})[0]

    def read(self, images: np.ndarray) -> np.ndarray:
        """The whole chain."""
        return self.classify(self.denoise(images))


def compute_ms(models: Models) -> float:
    """Both models on one image: the median of many calls."""
    image = np.random.default_rng(1).random((1, 28, 28, 1), np.float32)
    return _median_ms(lambda: models.read(image), 300)


def request_us(models: Models, picture: bytes, *, batch: int = 16) -> dict[str, float]:
    """CPU of one picture of a batch, by part and single-threaded, as the chain needs them at the least."""
    images = np.random.default_rng(1).random((batch, 28, 28, 1), np.float32)
    message = pb.PredictRequest()
    message.inputs["images"].CopyFrom(to_proto(images))
    data = message.SerializeToString()

    def carry() -> None:
        """One message, written at one end and read at the other."""
        pb.PredictRequest(inputs={"images": to_proto(images)}).SerializeToString()
        from_proto(pb.PredictRequest.FromString(data).inputs["images"])

    scores = models.classify(images[:1])[0]
    return {
        "both models": _cpu_us(lambda: models.read(images), 200) / batch,
        "decoding the picture": _cpu_us(
            lambda: cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_GRAYSCALE), 2000
        ),
        "messages, two calls there and back": 3 * _cpu_us(carry, 500) / batch,  # the classifier's answer is ten numbers
        "the answer as JSON": _cpu_us(
            lambda: orjson.dumps({"digit": int(scores.argmax()), "p": scores.tolist()}), 2000
        ),
    }


def bulk_images_per_s(models: Models, images: int, *, batch: int, threads: int) -> float:
    """Images a second through both models, in batches, on so many threads."""
    pictures = np.random.default_rng(1).random((images, 28, 28, 1), np.float32)
    slices = [pictures[start : start + batch] for start in range(0, images, batch)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(models.read, slices[: 2 * threads]))
        started = time.perf_counter()
        list(pool.map(models.read, slices))
    return images / (time.perf_counter() - started)


def hop_ms(target: str) -> float:
    """One gRPC call with an image each way to a server that does nothing: the median of many."""
    request = pb.PredictRequest()
    request.model_spec.name = "denoiser"
    request.inputs["images"].CopyFrom(to_proto(np.zeros((1, 28, 28, 1), np.float32)))
    message = request.SerializeToString()
    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary(PREDICT)
        call(message, wait_for_ready=True, timeout=10)
        return _median_ms(lambda: call(message, timeout=10), 1000)


def _cpu_us(call: Callable[[], object], times: int) -> float:
    call()
    started = time.process_time()
    for _ in range(times):
        call()
    return 1e6 * (time.process_time() - started) / times


def _median_ms(call: Callable[[], object], times: int) -> float:
    spent = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        spent.append(1e3 * (time.perf_counter() - started))
    return statistics.median(spent)


class _Empty(asyncio.Protocol):
    """The least an HTTP server can do: httptools parses, the answer is always the same."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")


async def _serve_empty(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(_Empty, "127.0.0.1", port, backlog=2048)
    await server.serve_forever()


def _serve_noop(port: int) -> None:
    """A gRPC server that answers an image with an image, without looking at it."""
    response = pb.PredictResponse()
    response.outputs["denoised"].CopyFrom(to_proto(np.zeros((1, 28, 28, 1), np.float32)))
    answer = response.SerializeToString()
    handler = grpc.unary_unary_rpc_method_handler(lambda request, context: answer)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler})]
    )
    server.add_insecure_port(f"127.0.0.1:{port}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    kind, port = sys.argv[1], int(sys.argv[2])
    if kind == "noop":
        _serve_noop(port)
    else:
        uvloop.run(_serve_empty(port))
