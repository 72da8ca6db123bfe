"""A gateway of one file: the HTTP contract over models in this process, with faults to order."""

import base64
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from flask import Flask, Response, jsonify, request
from werkzeug.serving import make_server

from services.core import images as codec
from services.evaluator.in_process import InProcessChain

NPY = "application/x-npy"


@dataclass
class Faults:
    """What goes wrong. Counts are of POST requests."""

    shifted: int = 0  # answers of a batch are turned by so many places: each one belongs to another image
    wrong_digit: bool = False  # every digit is one too high
    busy_first: int = 0  # so many requests are answered 503 with Retry-After first
    dead_after: int | None = None  # from then on every answer is 500
    not_ready: bool = False
    version: int = 1  # that answers say they are from
    versions_move: bool = False  # every JSON answer is from the next version


class FakeGateway:
    """What a test talks to: `url`, `faults` to set, `requests` counted."""

    def __init__(self, models: Path) -> None:
        self.chain = InProcessChain(models, denoiser=1, classifier=1)
        self.faults = Faults()
        self.requests = 0
        self.url = ""

    def app(self) -> Flask:
        app = Flask(__name__)
        app.get("/readyz")(self._ready)
        app.get("/healthz")(lambda: {"status": "alive"})
        app.post("/v1/recognize")(self._recognize)
        return app

    def _ready(self) -> tuple[dict[str, str], int]:
        return ({"status": "unavailable"}, 503) if self.faults.not_ready else ({"status": "ready"}, 200)

    def _recognize(self) -> Response:
        self.requests += 1
        if self.requests <= self.faults.busy_first:
            return Response("busy", 503, {"Retry-After": "0"})
        if self.faults.dead_after is not None and self.requests > self.faults.dead_after:
            return Response('{"title": "broken"}', 500, content_type="application/problem+json")
        pictures = _read(request.get_data(), request.content_type)
        arm = request.args.get("denoise", "always")
        noisy = np.mean((pictures > 0.02) & (pictures < 0.98), axis=(1, 2, 3)) > 0.1
        applied = {"always": np.ones_like(noisy), "never": np.zeros_like(noisy), "auto": noisy}[arm]
        denoised = self.chain.denoise(pictures)
        scores = self.chain.classify(np.where(applied[:, None, None, None], denoised, pictures))
        if self.faults.wrong_digit:
            scores = np.roll(scores, 1, axis=1)
        scores = np.roll(scores, self.faults.shifted, axis=0)
        if request.headers.get("Accept") == NPY:
            buffer = io.BytesIO()
            np.save(buffer, scores)
            return Response(buffer.getvalue(), content_type=NPY)
        self.faults.version += self.faults.versions_move
        return jsonify(_answer(scores, applied, denoised, request.args.get("include", ""), self.faults.version))


def _read(body: bytes, content_type: str) -> np.ndarray:
    if content_type == NPY:
        return np.load(io.BytesIO(body))
    if content_type == "image/png":
        pixels = codec.decode(body, max_pixels=1 << 20)[None]
    elif content_type == "application/json":
        pixels = np.array(request.get_json()["images"])
    elif content_type == "application/octet-stream":
        pixels = np.frombuffer(body, np.uint8).reshape(-1, 28, 28)
    else:
        uploads = [each for name in request.files for each in request.files.getlist(name)]
        pixels = np.stack([codec.decode(each.read(), max_pixels=1 << 20) for each in uploads])
    return (pixels.reshape(-1, 28, 28, 1) / np.float32(255)).astype(np.float32)


def _answer(
    scores: np.ndarray, applied: np.ndarray, denoised: np.ndarray, include: str, version: int
) -> dict[str, Any]:
    results = []
    for index, row in enumerate(scores):
        result: dict[str, Any] = {"index": index, "digit": int(row.argmax()), "confidence": float(row.max())}
        result["denoise"] = "applied" if applied[index] else "skipped"
        if "probabilities" in include:
            result["probabilities"] = row.tolist()
        if "denoised" in include and applied[index]:
            png = base64.b64encode(codec.encode_png(denoised[index])).decode()
            result["denoised"] = f"data:image/png;base64,{png}"
        results.append(result)
    models = {name: {"name": name, "version": version} for name in ("denoiser", "classifier")}
    timings = {"decode": 0.1, "queue": 0.0, "denoise": 0.3, "classify": 0.2, "total": 0.7}
    return {"request_id": "r", "count": len(results), "models": models, "degraded": False, "results": results,
            "timings_ms": timings}  # fmt: skip


@contextmanager
def fake_gateway(models: Path) -> Iterator[FakeGateway]:
    """A running fake on a free port."""
    gateway = FakeGateway(models)
    server = make_server("127.0.0.1", 0, gateway.app(), threaded=True)
    gateway.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
