"""`make up MODE=docker` where Docker is missing, asleep, out of reach of a registry: one line each.

A small program of the test's own stands in for the docker command, on a PATH of the test's own.
"""

import json
import sys
from pathlib import Path

import pytest

from deploy.stack.__main__ import main
from tests.support.stack import free_port

COMPOSE = "compose"  # no project and no files named: what plain `docker compose` means in the checkout
INFO = {"Architecture": "x86_64", "NCPU": 2}


class FakeDocker:
    """A `docker` that answers by its first words; what it was asked is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._answers: dict[str, tuple[int, str, str]] = {}

    def answers(self, words: str, status: int = 0, out: str = "", err: str = "") -> None:
        self._answers[words] = (status, out, err)
        script = f"""#!/usr/bin/env -S "{sys.executable}"
import os, sys
asked = " ".join(sys.argv[1:])
with open({str(self._folder / "asked")!r}, "a") as log:
    print(asked, file=log)
if sys.argv[1:3] == ["compose", "build"]:
    with open({str(self._folder / "files")!r}, "a") as log:
        print(os.environ.get("COMPOSE_FILE", ""), file=log)
for words, (status, out, err) in {self._answers!r}.items():
    if asked.startswith(words):
        print(end=out, flush=True)  # before what follows, as the real one
        sys.stderr.write(err)
        sys.exit(status)
sys.exit(64)
"""
        for name in ("docker", "docker-compose"):
            program = self._folder / name
            program.write_text(script)
            program.chmod(0o755)

    @property
    def compose_files(self) -> set[str]:
        """COMPOSE_FILE of every build."""
        return set((self._folder / "files").read_text().splitlines())

    @property
    def asked(self) -> list[str]:
        log = self._folder / "asked"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def docker(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CLEARDIGITS_VAR", str(tmp_path / "var"))
    monkeypatch.setenv("CLEARDIGITS_GATEWAY_PORT", str(free_port()))
    for name in ("BASE_IMAGE", "COMPOSE_FILE", "COMPOSE_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bin").mkdir()
    return FakeDocker(tmp_path / "bin")


def said(capsys) -> str:
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


def test_docker_that_is_not_installed(docker, capsys):
    assert main(["up", "--mode=docker"]) == 1
    assert said(capsys) == "up: docker is not installed: install Docker, or make up MODE=local"


@pytest.mark.parametrize("mode", ["local", "auto"])
@pytest.mark.parametrize(
    ("wish", "answer"),
    [
        ("--classifiers=3", "up: CLASSIFIERS=3 needs containers: make up MODE=docker"),
        ("--observe", "up: OBSERVE=1 needs containers: make up MODE=docker; of local processes: make prometheus"),
        ("--serving=tensorflow", "up: SERVING=tensorflow needs containers: make up MODE=docker"),
    ],
)
def test_what_only_containers_have_is_not_passed_over(docker, capsys, mode, wish, answer):
    """Without an engine `auto` means local processes."""
    assert main(["up", f"--mode={mode}", wish]) == 1
    assert said(capsys) == answer


def test_engine_that_sleeps(docker, capsys):
    docker.answers("info", 1, err="Cannot connect to the Docker daemon at unix:///var/run/docker.sock.\n")

    assert main(["up", "--mode=docker"]) == 1
    assert said(capsys).startswith("up: no Docker engine answers: start it (sudo systemctl start docker")


def test_engine_that_sleeps_behind_a_client_that_still_describes_itself(docker, capsys):
    """`docker info --format` prints the client's half and fails in the other."""
    docker.answers("info", 0, out=json.dumps({"ServerErrors": ["Cannot connect to the Docker daemon"]}))

    assert main(["up", "--mode=docker"]) == 1
    assert "no Docker engine answers" in said(capsys)


def test_engine_that_this_user_may_not_talk_to(docker, capsys):
    docker.answers("info", 1, err="permission denied while trying to connect to the Docker daemon socket\n")

    assert main(["up", "--mode=docker"]) == 1
    assert "sudo usermod -aG docker $USER" in said(capsys)


def test_compose_that_is_not_installed(docker, capsys, tmp_path):
    docker.answers("info", out=json.dumps(INFO))
    docker.answers("compose version", 1)
    (tmp_path / "bin/docker-compose").unlink()

    assert main(["up", "--mode=docker"]) == 1
    assert said(capsys).startswith("up: Docker Compose is not installed")


def test_registry_out_of_reach_suggests_the_embedded_server(docker, capsys):
    docker.answers("info", out=json.dumps(INFO))
    docker.answers("compose version")
    docker.answers("image inspect", 1)
    docker.answers("pull", 1, err="Error response from daemon: lookup registry: no such host\n")
    docker.answers(COMPOSE)

    assert main(["up", "--mode=docker"]) == 1
    line = said(capsys)
    assert line.startswith("up: tensorflow/serving:")
    assert line.endswith("cannot be pulled (no such host): make up MODE=docker SERVING=embedded does without it")


def test_base_image_out_of_reach_suggests_to_make_one(docker, capsys):
    docker.answers("info", out=json.dumps(INFO))
    docker.answers("compose version")
    docker.answers("image inspect", 1)
    docker.answers("pull", 1, err="Error response from daemon: lookup registry: no such host\n")
    docker.answers(COMPOSE)

    assert main(["up", "--mode=docker", "--serving=embedded"]) == 1
    line = said(capsys)
    assert line.endswith("cannot be pulled (no such host): sudo make base-image makes one from Debian's packages")


def test_arm_engine_gets_the_embedded_server_unasked(docker, capsys):
    """TensorFlow Serving publishes no arm64 image."""
    docker.answers("info", out=json.dumps({**INFO, "Architecture": "aarch64"}))
    docker.answers("compose version")
    docker.answers("image inspect")
    docker.answers(f"{COMPOSE} build", 1, err="ERROR: no space left on device\n")
    docker.answers(COMPOSE)

    assert main(["up", "--mode=docker"]) == 1
    assert "no space left on device" in said(capsys)
    assert docker.compose_files == {"docker-compose.yml:docker-compose.embedded.yml"}


def test_failed_build_is_one_line_and_what_was_started_is_taken_down(docker, capsys):
    docker.answers("info", out=json.dumps(INFO))
    docker.answers("compose version")
    docker.answers("image inspect")
    docker.answers(f"{COMPOSE} build", 1, out="Step 1/9\n", err="ERROR: no space left on device\n")
    docker.answers(COMPOSE)

    assert main(["up", "--mode=docker"]) == 1
    assert said(capsys).startswith("up: building the images failed: ERROR: no space left on device")
    assert docker.asked[-1] == f"{COMPOSE} down --remove-orphans"


def test_jobs_need_the_containers(docker, capsys):
    assert main(["job", "train"]) == 1
    assert said(capsys).startswith("job: the chain does not run in containers: make up MODE=docker first")


def test_a_folder_for_captures_that_containers_would_not_find(docker, capsys, monkeypatch):
    monkeypatch.setenv("CLEARDIGITS_GATEWAY_CAPTURE_DIR", "var/captures")
    docker.answers("info", out=json.dumps(INFO))
    docker.answers("compose")

    assert main(["up", "--mode=docker", "--serving=embedded"]) == 1
    assert said(capsys) == (
        "up: CLEARDIGITS_GATEWAY_CAPTURE_DIR=var/captures is not an absolute path, which containers need"
    )
