"""HTTP requests for `make fuzz`: honest ones of every kind, and mutations of their bodies, heads and framing."""

from __future__ import annotations

import base64
import gzip
import io
import json
import random
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.gateway.api.feedback import FEEDBACK
from tests.fuzz import bodies_mutate, bodies_seeds
from tests.fuzz.mutations import mutated

BUDGET_MS = 2000
READ = "/v1/read"
KEPT = "fuzz-1"  # an id of requests whose pictures may be kept, and labelled then
_LENGTH = "inference-header-content-length"
_OPTIONS = ("", "?denoise=auto", "?include=denoised,input,probabilities&top_k=10", "?preprocess=mnist",
            "?top_k=1&top_k=2", "?denoise=%ff", "?x=%0a", "?preprocess=none&denoise=never")  # fmt: skip
_LINE_OPTIONS = ("", "?length=4", "?length=3-8&include=boxes,alternatives,denoised,input", "?denoise=auto",
                 "?min_confidence=0.9", "?length=8-3", "?length=%ff", "?include=input&include=boxes")  # fmt: skip
_HEADERS = (b"content-encoding: gzip", b"content-encoding: identity", b"content-encoding: br", b"expect: 100-continue",
            b"connection: upgrade\r\nupgrade: h2c", b"x-forwarded-for: 1.2.3.4, , ::1", b"traceparent: 00-junk",
            b"x-request-id: a\tb", b"accept: application/x-npy", b"request-timeout-ms: 1", b"request-timeout-ms: soon",
            b"accept-encoding: gzip;q=nan, *", b"inference-header-content-length: 17", b"transfer-encoding: gzip",
            b"content-length: 3", b"host: again", b"range: bytes=0-1", b"if-none-match: *")  # fmt: skip
_GETS = ("/", "/docs", "/openapi.yaml", "/healthz", "/readyz", "/metrics", "/v2", "/v2/models/digits", "/favicon.ico",
         "/v2/models/denoiser/ready", "/v2/models/numbers", "/v2/models/numbers/ready", "/v2/models/digits/stats",
         "/v1/models/digits/metadata", "/assets/x/app.js",
         "/v2/models/x%0a/ready")  # fmt: skip


@dataclass(frozen=True)
class Honest:
    """A request that is as it should be."""

    path: str
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def kind(self) -> str:
        """Requests of one kind have bodies of one form."""
        return f"{self.path} {self.content_type}"


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
        self._honest = _honest()
        self._of_kind: dict[str, list[bytes]] = {}
        for each in self._honest:
            self._of_kind.setdefault(each.kind, []).append(each.body)

    def make(self, number: int) -> Case:
        """The case of this number."""
        rng = random.Random(f"{self._seed}/{number}")
        shape = rng.choices(("body", "crafted", "honest", "head", "framing", "get"), (40, 20, 6, 14, 14, 6))[0]
        if shape == "get":
            return Case("get", _head("GET", mutated_path(rng), rng, b"", extra=rng.random() < 0.5), BUDGET_MS / 1e3)
        if shape == "crafted":
            return _crafted(rng)
        honest = rng.choice(self._honest)
        body, headers = honest.body, list(honest.headers)
        if shape == "body":
            body = mutated(body, rng, others=self._of_kind[honest.kind])
            body, coding = _encoded(body, rng)
            headers += [("content-encoding", coding)] * bool(coding)
        options = _LINE_OPTIONS if honest.path == READ else _OPTIONS
        path = honest.path + rng.choice(options)
        head = _head("POST", path, rng, body, kind=honest.content_type, headers=headers, extra=shape == "head")
        whole = head + body
        if shape == "framing":
            start = len(head) if rng.random() < 0.5 else len(whole)
            whole = mutated(whole[:start], rng) + whole[start:]
        return Case(f"{shape} {honest.kind}", whole, BUDGET_MS / 1e3)


def _crafted(rng: random.Random) -> Case:
    """A body that is damaged by knowledge of its format."""
    made = bodies_mutate.mutated(rng)
    path = made.path + (rng.choice(_LINE_OPTIONS) if made.path == READ and rng.random() < 0.3 else "")
    head = _head("POST", path, rng, made.data, kind=made.content_type, headers=list(made.headers.items()), extra=False)
    return Case(f"crafted {made.path} {made.kind}", head + made.data, BUDGET_MS / 1e3)


def mutated_path(rng: random.Random) -> str:
    """A path that is there, or nearly."""
    path = rng.choice(_GETS)
    if rng.random() < 0.3:
        path += rng.choice(("/", "//", "%00", "?a=b&a=c", "/../..", ";x", "%", "\N{LATIN SMALL LETTER E WITH ACUTE}"))
    return path


def _head(
    method: str,
    path: str,
    rng: random.Random,
    body: bytes,
    *,
    kind: str = "",
    headers: Sequence[tuple[str, str]] = (),
    extra: bool,
) -> bytes:
    lines = [f"{method} {path} HTTP/1.1".encode(), b"host: fuzz", b"connection: close"]
    lines.append(f"request-timeout-ms: {BUDGET_MS}".encode())
    if kind:
        lines += [f"content-type: {kind}".encode(), b"content-length: %d" % len(body)]
    lines += [f"{name}: {value}".encode() for name, value in headers]
    if extra:
        lines += rng.sample(_HEADERS, rng.randint(1, 4))
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _encoded(body: bytes, rng: random.Random) -> tuple[bytes, str]:
    choice = rng.random()
    if choice < 0.05:
        return gzip.compress(body, 1), "gzip"
    if choice < 0.1:
        return mutated(gzip.compress(body, 1), rng), "gzip"
    if choice < 0.12:
        return zlib.compress(body), "deflate"
    return body, ""


def _honest() -> list[Honest]:
    """Some of every kind; kinds with few forms several times."""
    recognize = "/v1/recognize"
    pictures = bodies_seeds.pictures()
    kept = (("x-request-id", KEPT),)
    found = [Honest(recognize, f"image/{_format(name)}", data, kept) for name, data in pictures.items()]
    some = list(pictures.values())[:4]
    found += [Honest(recognize, *_form(some))] * 4
    grey = np.full((2, 28, 28), 0.5, np.float32)
    document = {"images": [[128] * 784, [0] * 784], "scale": 255, "include": ["probabilities"]}
    found += [Honest(recognize, "application/json", json.dumps(document).encode(), kept)] * 4
    found += [Honest(recognize, "application/octet-stream", bytes(784 * 3))] * 2
    for array in (grey, (grey * 255).astype(np.uint8)):
        found += [Honest(recognize, "application/x-npy", _npy(array))] * 3
    found += _lines()
    label = {"request_id": KEPT, "index": 0, "label": 7}
    found += [Honest(FEEDBACK, "application/json", json.dumps(label).encode())] * 4
    found += _infer(grey)
    rows = json.dumps({"instances": grey.reshape(2, 784).tolist()}).encode()
    found += [Honest("/v1/models/digits:predict", "application/json", rows)] * 4
    return found


def _lines() -> list[Honest]:
    """Requests of /v1/read."""
    files = bodies_seeds.lines()
    found = [Honest(READ, f"image/{_format(name)}", data) for name, data in files.items()]
    found += [Honest(READ, *_form(list(files.values())))] * 2
    coded = [base64.b64encode(data).decode() for data in files.values()]
    document = {"images": [*coded, [[0, 255] * 20] * 30], "length": "1-8", "include": ["boxes", "alternatives"]}
    found += [Honest(READ, "application/json", json.dumps(document).encode())] * 2
    return [*found, Honest(READ, "application/x-npy", _npy(np.full((1, 40, 100), 0.5, np.float32)))]


def _infer(grey: np.ndarray) -> list[Honest]:
    """Requests of the Open Inference Protocol, with tensors in JSON and after it."""
    tensor = {"name": "images", "shape": [2, 28, 28, 1], "datatype": "FP32"}
    files = list(bodies_seeds.lines().values())[:2]
    pictures = {"name": "pictures", "shape": [len(files)], "datatype": "BYTES"}
    packed = b"".join(struct.pack("<I", len(data)) + data for data in files)
    found = []
    for model in ("digits", "denoiser", "classifier"):
        found += [_v2(model, tensor, data=grey.ravel().tolist())] * 3
        found += [_v2(model, tensor, binary=grey.astype("<f4").tobytes())] * 2
    found += [_v2("numbers", pictures, data=[base64.b64encode(data).decode() for data in files])] * 3
    return found + [_v2("numbers", pictures, binary=packed)] * 3


def _v2(model: str, tensor: Mapping[str, object], *, data: object = None, binary: bytes = b"") -> Honest:
    entry = {**tensor, "parameters": {"binary_data_size": len(binary)}} if binary else {**tensor, "data": data}
    header = json.dumps({"inputs": [entry], "id": "x", "parameters": {"binary_data_output": bool(binary)}}).encode()
    path = f"/v2/models/{model}/infer"
    if not binary:
        return Honest(path, "application/json", header)
    return Honest(path, "application/octet-stream", header + binary, ((_LENGTH, str(len(header))),))


def _form(files: Sequence[bytes]) -> tuple[str, bytes]:
    parts = b"".join(
        b'--b\r\ncontent-disposition: form-data; name="p"; filename="%d"\r\n\r\n%b\r\n' % (index, data)
        for index, data in enumerate(files)
    )
    return "multipart/form-data; boundary=b", parts + b"--b--\r\n"


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _format(name: str) -> str:
    return {"jpg": "jpeg", "tif": "tiff"}.get(name.partition("-")[0], name.partition("-")[0])
