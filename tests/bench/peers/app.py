"""A digit reader in one FastAPI app, both models in its process: `uvicorn tests.bench.peers.app:plain` or `:batching`.

What a careful engineer writes in an afternoon: the same decoder, engine and engine options as the chain, no limits,
deadlines, metrics, logs or versions. `batching` joins requests that wait into one call of the models.
"""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import cv2
import numpy as np
import orjson
from fastapi import FastAPI, Request, Response

from tests.bench.gateway.floors import Models
from tests.support.stack import MODELS

BATCH = 64

models = Models(MODELS)
threads = ThreadPoolExecutor(1)
waiting: list[tuple[np.ndarray, asyncio.Future[np.ndarray]]] = []
wake = asyncio.Event()


@asynccontextmanager
async def batches(_app: FastAPI) -> AsyncIterator[None]:
    """The task that runs the models, as long as the app lives."""
    task = asyncio.create_task(run_batches())
    yield
    task.cancel()


plain, batching = FastAPI(), FastAPI(lifespan=batches)


def decode(body: bytes) -> np.ndarray:
    """A PNG, or raw bytes of many pictures, as the models take them."""
    if body[:4] == b"\x89PNG":
        grey = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_GRAYSCALE)
    else:
        grey = np.frombuffer(body, np.uint8)
    return np.divide(grey, 255, dtype=np.float32).reshape(-1, 28, 28, 1)


def answer(scores: np.ndarray) -> Response:
    """Digits and confidences as JSON."""
    digits, confidences = scores.argmax(axis=1).tolist(), scores.max(axis=1).tolist()
    results = [{"digit": digit, "confidence": sure} for digit, sure in zip(digits, confidences, strict=True)]
    return Response(orjson.dumps({"results": results}), media_type="application/json")


@plain.post("/v1/recognize")
async def read_alone(request: Request) -> Response:
    return answer(models.read(decode(await request.body())))


@batching.post("/v1/recognize")
async def read_together(request: Request) -> Response:
    future: asyncio.Future[np.ndarray] = asyncio.get_running_loop().create_future()
    waiting.append((decode(await request.body()), future))
    wake.set()
    return answer(await future)


async def run_batches() -> None:
    """What waits when the models are free goes together."""
    loop = asyncio.get_running_loop()
    while True:
        await wake.wait()
        batch = [waiting.pop(0)]
        while waiting and sum(len(each) for each, _ in batch) < BATCH:
            batch.append(waiting.pop(0))
        if not waiting:
            wake.clear()
        images = np.concatenate([each for each, _ in batch])
        scores = await loop.run_in_executor(threads, models.read, images)
        start = 0
        for each, future in batch:
            if not future.done():  # its client may be gone
                future.set_result(scores[start : start + len(each)])
            start += len(each)
