"""From a version folder to a servable that has seen its first requests."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from services.model_server.engines.base import LoadError
from services.model_server.engines.choice import EngineOptions, load_engine
from services.model_server.metrics import ServerMetrics
from services.model_server.versions.digests import verify
from services.model_server.versions.servable import Servable
from services.model_server.versions.warmup import replay


@dataclass(frozen=True, slots=True, kw_only=True)
class ServableLoader:
    """Callable: (model name, version, folder) -> Servable, or LoadError."""

    metrics: ServerMetrics
    engine: EngineOptions = field(default_factory=EngineOptions)
    warmup: bool = True
    warmup_iterations: int = 1
    verify_signature: Callable[[Path], None] | None = None
    verify_digests: bool = True
    check: Callable[[Path], None] | None = None  # of a version's folder, for what is not the engine's

    def __call__(self, name: str, version: int, path: Path) -> Servable:
        try:
            if self.verify_signature is not None:
                self.verify_signature(path)
            if self.verify_digests:
                verify(path)
            if self.check is not None:
                self.check(path)
            servable = Servable(name, version, path, load_engine(path, self.engine))
            if self.warmup:
                replay(servable, self.metrics, iterations=self.warmup_iterations)
        except LoadError:
            self.metrics.load_attempts.add((str(path), "fail"))
            raise
        except Exception as exc:
            self.metrics.load_attempts.add((str(path), "fail"))
            raise LoadError(f"{path}: {type(exc).__name__}: {exc}") from exc
        self.metrics.load_attempts.add((str(path), "success"))
        return servable
