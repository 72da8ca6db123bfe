"""HTTP requests for `make fuzz`: honest ones of every kind, and mutations of their bodies, heads and framing."""

from __future__ import annotations

import gzip
import io
import json
import random
import zlib
from dataclasses import dataclass

import numpy as np

from tests.fuzz import bodies_seeds
from tests.fuzz.mutations import mutated

BUDGET_MS = 2000
_OPTIONS = ("", "?denoise=auto", "?include=denoised,input,probabilities&top_k=10", "?preprocess=mnist",
            "?top_k=1&top_k=2", "?denoise=%ff", "?x=%0a", "?preprocess=none&denoise=never")  # fmt: skip
_HEADERS = (b"content-encoding: gzip", b"content-encoding: identity", b"content-encoding: br", b"expect: 100-continue",
            b"connection: upgrade\r\nupgrade: h2c", b"x-forwarded-for: 1.2.3.4, , ::1", b"traceparent: 00-junk",
            b"x-request-id: a\tb", b"accept: application/x-npy", b"request-timeout-ms: 1", b"request-timeout-ms: soon",
            b"accept-encoding: gzip;q=nan, *", b"inference-header-content-length: 17", b"transfer-encoding: gzip",
            b"content-length: 3", b"host: again", b"range: bytes=0-1", b"if-none-match: *")  # fmt: skip
_GETS = ("/", "/docs", "/openapi.yaml", "/healthz", "/readyz", "/metrics", "/v2", "/v2/models/digits", "/favicon.ico",
         "/v2/models/denoiser/ready", "/v1/models/digits/metadata", "/assets/x/app.js",
         "/v2/models/x%0a/ready")  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One request as it goes over the wire."""

    kind: str
    sent: bytes
    budget_s: float


class Cases:
    """Makes cases, each from its number: any of them can be made again."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._bodies = _bodies()
        self._of_kind: dict[str, list[bytes]] = {}
        for path, kind, body in self._bodies:
            self._of_kind.setdefault(path + kind, []).append(body)

    def make(self, number: int) -> Case:
        """The case of this number."""
        rng = random.Random(f"{self._seed}/{number}")
        shape = rng.choices(("body", "honest", "head", "framing", "get"), (60, 6, 14, 14, 6))[0]
        if shape == "get":
            return Case("get", _head("GET", mutated_path(rng), rng, b"", extra=rng.random() < 0.5), BUDGET_MS / 1e3)
        path, kind, body = rng.choice(self._bodies)
        name = f"{shape} {path} {kind}"
        if shape == "body":
            body = mutated(body, rng, others=self._of_kind[path + kind])
            body, coding = _encoded(body, rng)
        else:
            coding = b""
        head = _head("POST", path + rng.choice(_OPTIONS), rng, body, kind=kind, coding=coding, extra=shape == "head")
        whole = head + body
        if shape == "framing":
            start = len(head) if rng.random() < 0.5 else len(whole)
            whole = mutated(whole[:start], rng) + whole[start:]
        return Case(name, whole, BUDGET_MS / 1e3)


def mutated_path(rng: random.Random) -> str:
    """A path that is there, or nearly."""
    path = rng.choice(_GETS)
    if rng.random() < 0.3:
        path += rng.choice(("/", "//", "%00", "?a=b&a=c", "/../..", ";x", "%", "\N{LATIN SMALL LETTER E WITH ACUTE}"))
    return path


def _head(
    method: str, path: str, rng: random.Random, body: bytes, *, kind: str = "", coding: bytes = b"", extra: bool
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1".encode(), b"host: fuzz", b"connection: close"]
    lines.append(f"request-timeout-ms: {BUDGET_MS}".encode())
    if kind:
        lines += [f"content-type: {kind}".encode(), b"content-length: %d" % len(body)]
    if coding:
        lines.append(b"content-encoding: " + coding)
    if extra:
        lines += rng.sample(_HEADERS, rng.randint(1, 4))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _encoded(body: bytes, rng: random.Random) -> tuple[bytes, bytes]:
    choice = rng.random()
    if choice < 0.05:
        return gzip.compress(body, 1), b"gzip"
    if choice < 0.1:
        return mutated(gzip.compress(body, 1), rng), b"gzip"
    if choice < 0.12:
        return zlib.compress(body), b"deflate"
    return body, b""


def _bodies() -> list[tuple[str, str, bytes]]:
    """(path, content type, body) of honest requests."""
    recognize = "/v1/recognize"
    pictures = bodies_seeds.pictures()
    found = [(recognize, f"image/{_format(name)}", data) for name, data in pictures.items()]
    some = list(pictures.values())
    parts = b"".join(
        b'--b\r\ncontent-disposition: form-data; name="p"; filename="%d"\r\n\r\n%b\r\n' % (index, data)
        for index, data in enumerate(some[:4])
    )
    found += [(recognize, "multipart/form-data; boundary=b", parts + b"--b--\r\n")] * 4
    grey = np.full((2, 28, 28), 0.5, np.float32)
    document = {"images": [[128] * 784, [0] * 784], "scale": 255, "include": ["probabilities"]}
    found += [(recognize, "application/json", json.dumps(document).encode())] * 4
    found += [(recognize, "application/octet-stream", bytes(784 * 3))] * 2
    for array in (grey, (grey * 255).astype(np.uint8)):
        buffer = io.BytesIO()
        np.save(buffer, array)
        found += [(recognize, "application/x-npy", buffer.getvalue())] * 3
    tensor = {"name": "images", "shape": [2, 28, 28, 1], "datatype": "FP32", "data": grey.ravel().tolist()}
    infer = json.dumps({"inputs": [tensor], "id": "x", "parameters": {"binary_data_output": False}}).encode()
    for model in ("digits", "denoiser", "classifier"):
        found += [(f"/v2/models/{model}/infer", "application/json", infer)] * 3
    rows = json.dumps({"instances": grey.reshape(2, 784).tolist()}).encode()
    found += [("/v1/models/digits:predict", "application/json", rows)] * 4
    return found


def _format(name: str) -> str:
    return {"jpg": "jpeg", "tif": "tiff"}.get(name.partition("-")[0], name.partition("-")[0])
