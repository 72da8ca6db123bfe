"""The gateway over HTTP: kept-alive connections, and retries when it answers 429 or 503.

urllib3 without `requests` around it: on a machine shared with the service, a lean client measures the service. What is
left of the client's own time is measured too, by `floor`.
"""

from __future__ import annotations

import io
import json
import time
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlencode

import numpy as np
import urllib3
from numpy.typing import NDArray

from services.core.noise import Images
from services.evaluator.errors import GatewayError

Denoise = Literal["never", "always", "auto"]

RECOGNIZE, READ = "/v1/recognize", "/v1/read"
NPY = "application/x-npy"
BUSY = (429, 503)
ATTEMPTS = 6  # with pauses of 0.5, 1, 2, 4, 8 s: a restart of the gateway does not end a run
LONGEST_PAUSE_S = 20
CONNECTIONS = 64  # kept alive; more calls at once open more and close them again


@dataclass(frozen=True, slots=True)
class TimedAnswer:
    """One request and its answer, with what they cost as the client saw it."""

    status: int
    body: bytes
    elapsed_ms: float
    request_bytes: int
    response_bytes: int


class GatewayClient:
    """Calls one gateway. May be shared by threads: connections are kept alive and each serves one call at a time."""

    def __init__(
        self, url: str, *, timeout_s: float = 30.0, api_key: str = "", patient: bool = True, label: str = ""
    ) -> None:
        """`label` names whose models are to answer, of a gateway that has a choice."""
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._api_key = api_key
        self._label = label
        self._headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        if label:
            self._headers["X-ClearDigits-Label"] = label
        retries = _retries() if patient else urllib3.Retry(0, read=False, redirect=False)
        self._pools = urllib3.PoolManager(maxsize=CONNECTIONS, timeout=timeout_s, retries=retries)
        self.retries = 0  # requests that had to be sent again

    def impatient(self) -> GatewayClient:
        """The same client, for measuring: it takes every answer as it comes and sends nothing twice."""
        return GatewayClient(
            self.url, timeout_s=self._timeout_s, api_key=self._api_key, patient=False, label=self._label
        )

    def require_ready(self) -> None:
        """Raise GatewayError, with what to do, unless the whole chain says it is ready."""
        try:
            response = self._pools.request("GET", f"{self.url}/readyz", headers=self._headers, retries=False)
        except urllib3.exceptions.HTTPError as exc:
            raise GatewayError(
                f"no gateway at {self.url} ({type(exc).__name__}). Start the stack with `make up`, "
                "or name another one with --url or CLEARDIGITS_EVALUATOR_URL"
            ) from exc
        if response.status != 200:
            body = response.data[:300].decode(errors="replace")
            raise GatewayError(f"the gateway at {self.url} is not ready: answer {response.status}, {body}")

    def probabilities(self, images: Images, denoise: Denoise) -> NDArray[np.float32]:
        """The chain's ten probabilities for each image, exactly as float32: nothing is rounded on the way."""
        exchange = self.send(as_npy(images), NPY, accept=NPY, denoise=denoise, preprocess="none")
        try:
            scores = np.load(io.BytesIO(exchange.body), allow_pickle=False)
        except (ValueError, EOFError) as exc:
            raise GatewayError(f"the answer is no npy array: {exc}") from exc
        if scores.shape != (len(images), 10):
            raise GatewayError(f"{len(images)} images got probabilities of shape {scores.shape}")
        return scores

    def recognize(self, images: Images, denoise: Denoise, include: str = "") -> dict[str, Any]:
        """The full JSON answer for float images."""
        options = {"include": include} if include else {}
        exchange = self.send(as_npy(images), NPY, denoise=denoise, preprocess="none", **options)
        return read_json(exchange, count=len(images))

    def served_models(self, images: Images) -> dict[str, int]:
        """The version of each model that answers right now, found by asking for a reading of `images`."""
        answer = self.recognize(images, "always")
        try:
            return {role: int(answer["models"][role]["version"]) for role in ("denoiser", "classifier")}
        except (KeyError, TypeError, ValueError) as exc:
            raise GatewayError(f"the answer does not name both models' versions: {answer.get('models')}") from exc

    def send(self, body: bytes, content_type: str, *, accept: str = "application/json", **query: str) -> TimedAnswer:
        """One POST /v1/recognize; anything but 200 raises GatewayError (after retries, for a patient client)."""
        exchange = self.exchange(body, content_type, accept=accept, **query)
        if exchange.status != 200:
            raise GatewayError(
                f"{self.url}{RECOGNIZE} answered {exchange.status}: {exchange.body[:300].decode(errors='replace')}"
            )
        return exchange

    def exchange(
        self, body: bytes, content_type: str, *, accept: str = "application/json", route: str = RECOGNIZE, **query: str
    ) -> TimedAnswer:
        """One POST; any status is an answer, GatewayError means that there was none."""
        budget_ms = str(round(1e3 * self._timeout_s))  # the gateway may take as long as this client waits
        headers = {"Content-Type": content_type, "Accept": accept, "Request-Timeout-Ms": budget_ms, **self._headers}
        url = f"{self.url}{route}?{urlencode(query)}"
        return self._timed("POST", url, body, headers)

    def read_line(self, body: bytes, content_type: str, **query: str) -> TimedAnswer:
        """One POST /v1/read; any status is an answer, GatewayError means that there was none."""
        return self.exchange(body, content_type, route=READ, **query)

    def floor(self) -> TimedAnswer:
        """One GET /healthz, which computes nothing: what remains is this client, HTTP and the way there."""
        return self._timed("GET", f"{self.url}/healthz", None, self._headers)

    def _timed(self, method: str, url: str, body: bytes | None, headers: dict[str, str]) -> TimedAnswer:
        started = time.perf_counter()
        try:
            response = self._pools.request(method, url, body=body, headers=headers)
        except urllib3.exceptions.HTTPError as exc:
            raise GatewayError(f"the gateway at {self.url} went away: {exc}") from exc
        elapsed_ms = 1e3 * (time.perf_counter() - started)
        if response.retries:
            self.retries += len(response.retries.history)
        return TimedAnswer(response.status, response.data, elapsed_ms, len(body or b""), len(response.data))


def as_npy(images: Images) -> bytes:
    """float32 images in numpy's own file format: the one encoding that rounds nothing."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(images, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def read_json(exchange: TimedAnswer, *, count: int) -> dict[str, Any]:
    """The answer as a dict, if it is one with `count` results; GatewayError otherwise."""
    try:
        answer = json.loads(exchange.body)
        if len(answer["results"]) == count and answer["timings_ms"]:
            return answer
    except (ValueError, KeyError, TypeError) as exc:
        raise GatewayError(f"the answer is not what docs/API.md promises: {exchange.body[:300]!r}") from exc
    raise GatewayError(f"{count} images got {len(answer['results'])} results")


def _retries() -> urllib3.Retry:
    """urllib3's patience: Retry-After when it is given (in seconds or as a date), else growing pauses."""
    return urllib3.Retry(
        total=ATTEMPTS - 1,
        status_forcelist=BUSY,
        allowed_methods=None,  # POST too: reading a digit twice changes nothing
        backoff_factor=0.5,
        retry_after_max=LONGEST_PAUSE_S,
        raise_on_status=False,
    )
