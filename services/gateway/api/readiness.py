"""Alive means: the process runs. Ready means: both models have an AVAILABLE version, asked just now."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

from services.core.errors import ModelError
from services.gateway.metrics import Metrics
from services.gateway.models.remote import Model

_ASK_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Readiness:
    """The answer of /readyz."""

    ready: bool
    models: dict[str, str]  # role -> "available", or what is wrong
    draining: bool = False


class ReadinessCheck:
    """Asks both models; an answer is reused for a moment, so that many probes cost few calls."""

    def __init__(
        self,
        models: dict[str, Model],
        *,
        cache_s: float,
        metrics: Metrics,
        draining: Callable[[], bool],
        required: frozenset[str],
    ) -> None:
        self._models = models
        self._cache_s = cache_s
        self._metrics = metrics
        self._draining = draining
        self._required = required
        self._asking = asyncio.Lock()
        self._answer: dict[str, str] = {}
        self._answered_at_s = 0.0

    async def __call__(self) -> Readiness:
        """Ready, or why not. A gateway that is shutting down is not ready, whatever its models say."""
        if self._draining():
            return Readiness(False, {}, draining=True)
        async with self._asking:
            if not self._answer or time.monotonic() - self._answered_at_s > self._cache_s:
                found = await asyncio.gather(*(self._ask(model) for model in self._models.values()))
                self._answer = dict(zip(self._models, found, strict=True))
                self._answered_at_s = time.monotonic()
        for role, state in self._answer.items():
            self._metrics.available(role, state == "available")
        return Readiness(all(self._answer[role] == "available" for role in self._required), self._answer)

    async def _ask(self, model: Model) -> str:
        try:
            versions = await model.status(timeout_s=_ASK_TIMEOUT_S)
        except ModelError as exc:
            return str(exc)
        if any(version.state == "AVAILABLE" for version in versions):
            return "available"
        return f"{model.name} has no AVAILABLE version"
