"""Alive means: the process runs. Ready means: both models have an AVAILABLE version that answers as the model does."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import orjson

from services.core.errors import ModelError, ModelResponseError, ModelTimeoutError
from services.gateway.admission.context import Answer, Request
from services.gateway.api.answers import JSON
from services.gateway.api.operations import Operation
from services.gateway.deadlines import Deadline
from services.gateway.metrics import CONTENT_TYPE, Metrics
from services.gateway.models.remote import Model
from services.gateway.models.transport import CallContext

ASK_TIMEOUT_S = 1.0  # of one question to a model server
_PROBE_WAIT_S = 0.08  # a probe is answered within 100 ms, with what is known by then
_AGAIN_S = 0.25  # the shortest pause between two questions in the background
_WATCHED_S = 15.0  # so long after a probe the models are asked again and again: the next probe finds a recent answer
AVAILABLE = "AVAILABLE"


@dataclass(frozen=True, slots=True)
class Known:
    """What a model server said last."""

    versions: tuple[str, ...]  # the available ones, newest first
    error: ModelError | None
    at_s: float


class ModelStatus:
    """The available versions of one model. Asked in the background, one question at a time, however many wait.

    While probes come, the question is repeated: a probe is answered at once with what is at most a moment old.
    """

    def __init__(
        self, role: str, model: Model, *, cache_s: float, metrics: Metrics, labels: tuple[str, ...] = ("",)
    ) -> None:
        """`labels` are those that users may be answered by."""
        self.role = role
        self._model = model
        self._cache_s = cache_s
        self._metrics = metrics
        self._pause_s = max(cache_s, _AGAIN_S)
        self._stale_s = self._pause_s + (2 + len(labels)) * ASK_TIMEOUT_S  # an older answer is none
        self._labels = labels
        self._checked: tuple[str, ...] = ()  # the available versions when the model was checked last
        self._asking: asyncio.Task[None] | None = None
        self._again: asyncio.TimerHandle | None = None
        self._wanted_s = float("-inf")
        self._known = Known((), ModelTimeoutError(f"{model.name} has not answered yet"), float("-inf"))

    async def known(self, *, within_s: float) -> Known:
        """What the server says now, or what it said last when it takes longer than `within_s`."""
        self._wanted_s = time.monotonic()
        if self._wanted_s - self._known.at_s > self._cache_s:
            await asyncio.wait((self._begin(),), timeout=within_s)
        if time.monotonic() - self._known.at_s > self._stale_s and self._known.error is None:
            return Known((), ModelTimeoutError(f"{self._model.name} does not answer"), self._known.at_s)
        return self._known

    async def versions(self) -> tuple[str, ...]:
        """The available versions, newest first; ModelError where the server does not say."""
        found = await self.known(within_s=ASK_TIMEOUT_S)
        if found.error is not None:
            raise found.error
        return found.versions

    def state(self, known: Known) -> str:
        """In a word what /readyz says of the model."""
        if known.error is not None:
            return str(known.error)
        return "available" if known.versions else f"{self._model.name} has no AVAILABLE version"

    def close(self) -> None:
        """Ask no more."""
        self._wanted_s = float("-inf")
        for pending in (self._asking, self._again):
            if pending is not None:
                pending.cancel()

    def _begin(self) -> asyncio.Task[None]:
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._asking is None:
            self._asking = asyncio.create_task(self._ask())
        return self._asking

    async def _ask(self) -> None:
        try:
            found = await self._model.status(timeout_s=ASK_TIMEOUT_S)
            versions = tuple(str(item.version) for item in found if item.state == AVAILABLE)
            if versions and versions != self._checked:
                await self._check(versions)
        except ModelError as exc:
            self._known = Known((), exc, time.monotonic())
        else:
            self._known = Known(versions, None, time.monotonic())
        finally:
            self._asking = None
            if time.monotonic() - self._wanted_s < _WATCHED_S:
                self._again = asyncio.get_running_loop().call_later(self._pause_s, self._begin)
        self._metrics.available(self.role, bool(self._known.versions))

    async def _check(self, versions: tuple[str, ...]) -> None:
        """Whether what answers is the model at all, once for versions that have not been seen; error if none is."""
        wrong: list[ModelResponseError] = []
        for label in self._labels:
            try:
                await self._model.check(call=CallContext(Deadline.after(ASK_TIMEOUT_S), label=label))
            except ModelResponseError as exc:
                wrong.append(exc)
            except ModelError:
                return  # it did not say: its status stands, and it is asked again
        if len(wrong) == len(self._labels):
            raise wrong[0]
        self._checked = versions


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of /readyz."""

    ready: bool
    models: dict[str, str]  # role -> "available", or what is wrong
    draining: bool = False


class ReadinessCheck:
    """Whether the gateway can answer requests: what its models say, and whether it is stopping."""

    def __init__(
        self, models: Mapping[str, ModelStatus], *, draining: Callable[[], bool], required: frozenset[str]
    ) -> None:
        self._models = models
        self._draining = draining
        self._required = required

    async def __call__(self) -> Readiness:
        """Ready, or why not, within the time a probe has. A gateway that is stopping is not ready."""
        if self._draining():
            return Readiness(False, {}, draining=True)
        models = self._models.values()
        found = await asyncio.gather(*(model.known(within_s=_PROBE_WAIT_S) for model in models))
        states = {model.role: model.state(known) for model, known in zip(models, found, strict=True)}
        return Readiness(all(states[role] == "available" for role in self._required), states)


def probe_operations(readiness: ReadinessCheck, metrics: Metrics) -> list[Operation]:
    """/healthz, /readyz and /metrics."""

    async def healthz(_request: Request) -> Answer:
        return Answer(200, b'{"status":"alive"}', JSON)

    async def readyz(_request: Request) -> Answer:
        found = await readiness()
        document = {"ready": found.ready, "draining": found.draining, "models": found.models}
        return Answer(200 if found.ready else 503, orjson.dumps(document), JSON)

    async def get_metrics(_request: Request) -> Answer:
        await readiness()  # so that cleardigits_model_available is about now, even where /readyz is never asked
        return Answer(200, metrics.text(), CONTENT_TYPE)

    return [
        Operation("GET", "/healthz", healthz),
        Operation("GET", "/readyz", readyz),
        Operation("GET", "/metrics", get_metrics),
    ]
