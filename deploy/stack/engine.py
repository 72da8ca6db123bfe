"""The Docker engine and its Compose, if this machine has them."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from deploy.stack.errors import StackError, last_line

ANSWER_TIMEOUT_S = 10


@dataclass(frozen=True, slots=True)
class ContainerEngine:
    """An engine that answers, and the command that runs Compose on it."""

    architecture: str  # amd64, arm64, ...
    compose: tuple[str, ...]  # ("docker", "compose") or ("docker-compose",)

    @classmethod
    def find(cls) -> Self:
        """Ask the engine who it is; StackError says what is missing and how to put it right."""
        if not shutil.which("docker"):
            raise StackError("docker is not installed: install Docker, or make up MODE=local")
        try:
            info = run(["docker", "info", "--format", "{{json .}}"], timeout_s=ANSWER_TIMEOUT_S)
        except subprocess.TimeoutExpired as exc:
            raise StackError(
                f"the Docker engine did not answer in {ANSWER_TIMEOUT_S} s: restart it, or make up MODE=local"
            ) from exc
        described = json.loads(info.stdout) if info.stdout.startswith("{") else {}
        if info.returncode != 0 or "NCPU" not in described:
            reason = last_line(info.stderr) or "; ".join(described.get("ServerErrors") or [])
            if "permission denied" in reason.lower():
                raise StackError(
                    "this user may not talk to the Docker engine: "
                    "sudo usermod -aG docker $USER and log in again, or make up MODE=local"
                )
            raise StackError(
                "no Docker engine answers: start it (sudo systemctl start docker, or Docker Desktop), "
                "or make up MODE=local"
            )
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(described["Architecture"], described["Architecture"])
        return cls(architecture, _compose())


def run(command: Sequence[str | Path], timeout_s: float | None = None) -> subprocess.CompletedProcess[str]:
    """Run and keep what it says."""
    return subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=timeout_s)


def has_image(name: str) -> bool:
    """Whether the engine holds this image already."""
    return run(["docker", "image", "inspect", "--format", "{{.Id}}", name]).returncode == 0


def pull(name: str) -> str | None:
    """Fetch an image unless it is there; None when all is well, otherwise why not."""
    if has_image(name):
        return None
    print(f"  pulling {name}", flush=True)
    pulled = run(["docker", "pull", "--quiet", name])
    return None if pulled.returncode == 0 else last_line(pulled.stderr).rpartition(": ")[2]


def _compose() -> tuple[str, ...]:
    if run(["docker", "compose", "version"]).returncode == 0:
        return ("docker", "compose")
    if shutil.which("docker-compose"):
        return ("docker-compose",)
    raise StackError("Docker Compose is not installed: install docker-compose-plugin, or make up MODE=local")
