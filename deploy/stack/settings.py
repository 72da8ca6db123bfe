"""What `make up` can be told: the environment, then .env, then defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deploy.stack.errors import StackError
from services.core import addresses

ROOT = Path(__file__).resolve().parents[2]
SERVE_VENV = ".venvs/serve"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One stack: where it listens, what it serves, where it keeps its logs."""

    environ: Mapping[str, str]  # the whole environment for its processes, .env included
    host: str
    port: int
    denoiser_port: int
    denoiser_rest_port: int
    classifier_port: int
    classifier_rest_port: int
    models: Path
    model_configs: Path | None  # denoiser.config and classifier.config of local processes: versions and labels
    var: Path  # logs, sockets and state of what runs
    venv: Path  # what serving needs, for local processes

    @classmethod
    def load(cls, environ: Mapping[str, str] = os.environ, env_file: Path = ROOT / ".env") -> Self:
        """Read both; what is in the environment wins over the file, as with Compose."""
        merged = {**_from_file(env_file), **environ}

        def port(name: str, default: int) -> int:
            text = merged.get(name) or str(default)
            try:
                return addresses.port(text, lowest=1)
            except ValueError as exc:
                raise StackError(f"{name}: {exc}") from None

        def folder(name: str, default: str) -> Path:
            return ROOT / Path(merged.get(name) or default).expanduser()

        return cls(
            environ=merged,
            host=merged.get("CLEARDIGITS_GATEWAY_HOST") or "127.0.0.1",
            port=port("CLEARDIGITS_GATEWAY_PORT", 8080),
            denoiser_port=port("CLEARDIGITS_DENOISER_PORT", 8500),
            denoiser_rest_port=port("CLEARDIGITS_DENOISER_REST_PORT", 8501),
            classifier_port=port("CLEARDIGITS_CLASSIFIER_PORT", 8510),
            classifier_rest_port=port("CLEARDIGITS_CLASSIFIER_REST_PORT", 8511),
            models=folder("CLEARDIGITS_MODELS", "models"),
            model_configs=folder("CLEARDIGITS_MODEL_CONFIGS", "") if merged.get("CLEARDIGITS_MODEL_CONFIGS") else None,
            var=folder("CLEARDIGITS_VAR", "var"),
            venv=folder("CLEARDIGITS_VENV", SERVE_VENV),
        )

    @property
    def url(self) -> str:
        """Where a client on this machine finds the gateway."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"


def make_folder(folder: Path) -> None:
    """Make it and what it is in, or say in one line why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StackError(f"{folder} cannot be made ({exc.strerror}): see CLEARDIGITS_VAR in .env.example") from exc


def _from_file(file: Path) -> dict[str, str]:
    if not file.exists():
        return {}
    try:
        return parse_env(file.read_text("utf-8"), file.name)
    except UnicodeDecodeError as exc:
        raise StackError(f"{file.name} is not UTF-8: {exc.reason} at byte {exc.start}") from exc


def parse_env(text: str, name: str) -> dict[str, str]:
    """`KEY=value` lines; comments, blank lines and quotes around a value are allowed."""
    values = {}
    for number, line in enumerate(text.splitlines(), start=1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        key, equals, value = line.removeprefix("export ").partition("=")
        if not equals or not key.strip().isidentifier():
            raise StackError(f"{name}, line {number}: expected KEY=value, found {line!r}")
        value = value.strip()
        if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].rstrip()
        values[key.strip()] = value
    return values
