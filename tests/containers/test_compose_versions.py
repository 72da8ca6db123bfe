"""make and plain `docker compose` mean one stack, with Compose v2 and with 1.29, from a checkout in any folder.

Each version gets a fresh clone in a folder with spaces, settings in .env and nothing in the environment, and goes
through the life of a stack in the order of the tests.
"""

import contextlib
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import requests

from deploy.stack.chain import wait_until
from tests.support.containers import base_image, compose_v1, compose_v2, docker
from tests.support.make_up import MakeUp, copy_checkout
from tests.support.stack import ROOT, free_port

SERVICES = {"denoiser", "classifier", "gateway"}
VERSIONS = {"v2": (compose_v2, ["docker", "compose"]), "1.29": (compose_v1, ["docker-compose"])}


@dataclass(frozen=True)
class Clone:
    """A checkout of its own, with make and Compose as a person types them there."""

    make: MakeUp
    command: list[str]  # docker compose, or docker-compose
    url: str

    def compose(self, *words: str) -> str:
        done = subprocess.run(
            [*self.command, *words],
            cwd=self.make.root, env=self.make.environ, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def containers(self) -> dict[str, str]:
        """Service -> container, of the project that the folder's name makes."""
        project = re.sub(r"[^-_a-z0-9]", "", self.make.root.name.lower())
        shown = docker(
            "ps", "-a", "--no-trunc", f"--filter=label=com.docker.compose.project={project}",
            "--format", '{{.Label "com.docker.compose.service"}} {{.ID}}',
        )  # fmt: skip
        return dict(line.split() for line in shown.splitlines())


@pytest.fixture(scope="module", params=VERSIONS)
def clone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Clone]:
    folder = tmp_path_factory.mktemp("compose")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # the containers' user reads the models
    only_this_version, command = VERSIONS[request.param]
    environ = only_this_version(folder)
    if environ is None:
        pytest.skip("docker-compose 1.29 is not installed here")
    root = copy_checkout(folder / "a b" / f"clear digits {os.getpid()}")
    make = MakeUp.on_free_ports(root / "var", root=root, **environ)
    in_file = {name: make.environ[name] for name in make.environ if name.startswith("CLEARDIGITS_GATEWAY_")}
    in_file |= {"COMPOSE_FILE": "docker-compose.yml:docker-compose.embedded.yml", "BASE_IMAGE": base_image()}
    in_file |= {"CLEARDIGITS_GATEWAY_CAPTURE_DIR": str(folder / "captures"), "CLEARDIGITS_GATEWAY_CAPTURE_SHARE": "1"}
    (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in in_file.items()))
    outside = {
        name: value
        for name, value in make.environ.items()
        if name not in in_file and not name.startswith(("COMPOSE_", "CLEARDIGITS_V"))
    }
    clone = Clone(MakeUp(outside, make.var, root), command, make.url)
    yield clone
    ended = clone.make.run("down", timeout_s=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert clone.containers() == {}


def read(url: str) -> int | None:
    """The digit the chain reads in the sample, None when it does not answer."""
    sample = (ROOT / "docs/samples/noisy-7.png").read_bytes()
    try:
        answer = requests.post(f"{url}/v1/recognize", data=sample, headers={"Content-Type": "image/png"}, timeout=10)
    except requests.ConnectionError:
        return None
    return answer.json()["results"][0]["digit"] if answer.ok else None


def test_make_up_starts_what_plain_compose_shows(clone):
    started = clone.make.run("up", "MODE=docker", timeout_s=600)
    shown = clone.compose("ps", "-q").split()

    assert started.returncode == 0, started.stdout + started.stderr
    assert f"open  {clone.url}" in started.stdout
    assert read(clone.url) == 7
    assert clone.containers().keys() == SERVICES
    assert sorted(shown) == sorted(clone.containers().values())


def test_captured_pictures_are_kept_outside_of_the_container(clone):
    assert read(clone.url) == 7
    settings = dict(line.split("=", 1) for line in (clone.make.root / ".env").read_text().splitlines())

    def kept():
        with contextlib.closing(sqlite3.connect(f"{settings['CLEARDIGITS_GATEWAY_CAPTURE_DIR']}/captures.db")) as file:
            return file.execute("SELECT count(*) FROM captures").fetchone()[0]

    assert wait_until(lambda: kept() > 0, timeout_s=10, every_s=0.2)


def test_plain_up_finds_nothing_to_change(clone):
    before = clone.containers()
    clone.compose("up", "-d")

    assert clone.containers() == before


def test_plain_logs_and_restart_reach_the_same_gateway(clone):
    read(clone.url)
    logs = clone.compose("logs", "--no-color", "gateway")
    clone.compose("restart", "gateway")

    assert "/v1/recognize" in logs
    assert wait_until(lambda: read(clone.url) == 7, timeout_s=60, every_s=0.2)
    assert clone.make.run("status").returncode == 0


def test_plain_run_starts_one_more_gateway_beside_the_others(clone):
    """The runbook's canary, without its labels."""
    before = clone.containers()
    port = free_port()
    container = clone.compose("run", "-d", "-p", f"127.0.0.1:{port}:8080", "gateway").split()[-1]
    try:
        assert wait_until(lambda: read(f"http://127.0.0.1:{port}") == 7, timeout_s=60, every_s=0.2)
        assert before.items() <= {**clone.containers(), **before}.items()
    finally:
        docker("rm", "--force", container)
    assert clone.containers() == before


def test_clients_of_make_ask_the_port_of_the_file(clone):
    asked = clone.make.run("-n", "evaluate").stdout
    shown = subprocess.run(
        [sys.executable, "-m", "deploy.stack", "env", "printenv", "CLEARDIGITS_EVALUATOR_URL"],
        cwd=clone.make.root, env=clone.make.environ, check=True, capture_output=True, text=True,
    )  # fmt: skip

    assert "deploy.stack env" in asked
    assert shown.stdout.strip() == clone.url


def test_what_plain_compose_starts_make_finds_and_ends(clone):
    clone.compose("down")
    assert clone.containers() == {}
    clone.compose("up", "-d")
    assert wait_until(lambda: read(clone.url) == 7, timeout_s=60, every_s=0.2)
    (clone.make.var / "stack.json").unlink(missing_ok=True)

    def healthy():  # the gateway answers before the engine's next health check says so
        return re.findall(r"(\w+) +running \(healthy\)", clone.make.run("status").stdout)

    assert wait_until(lambda: healthy() == ["denoiser", "classifier", "gateway"], timeout_s=30, every_s=0.5)
    down = clone.make.run("down", timeout_s=120)

    assert down.returncode == 0, down.stderr
    assert clone.containers() == {}
