"""The chain as containers: docker-compose.yml on this machine's Docker engine."""

import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from deploy.stack import chain
from deploy.stack.engine import ContainerEngine, has_image, pull, run
from deploy.stack.errors import ImageError, StackError, last_line
from deploy.stack.ports import require_free
from deploy.stack.settings import ROOT, Settings, make_folder

SERVICES = ("denoiser", "classifier", "gateway")
JOBS = ("train", "evaluate", "load")
FILE, EMBEDDED_FILE = "docker-compose.yml", "docker-compose.embedded.yml"
PROFILES = ",".join((*JOBS, "observe"))
JOB_USER = 10001  # in place of root, which no container runs as
START_TIMEOUT_S = 120.0
TFSERVING_IMAGE = "tensorflow/serving:2.20.0"
PYTHON_IMAGE = "python:3.11-slim-bookworm"
AIR_GAPPED_IMAGE = "cleardigits-base:bookworm"


@dataclass(frozen=True, slots=True)
class Variant:
    """What `make up MODE=docker` may be told beyond the settings."""

    serving: str  # tensorflow (the stock image) or embedded (services/model_server)
    classifiers: int = 1
    observe: bool = False


class ComposeStack:
    """`up`, `down` and the rest, for containers.

    Compose is asked without -p and without -f, from the checkout's folder: what `docker compose` typed there means, by
    COMPOSE_PROJECT_NAME and COMPOSE_FILE of the environment or .env or by the folder's name, is this same stack.
    """

    mode = "docker"

    def __init__(self, settings: Settings, engine: ContainerEngine, variant: Variant) -> None:
        self.variant = variant
        self._settings = settings
        self._compose = engine.compose
        self._log = settings.var / "log/compose.log"
        self._environ = {
            "COMPOSE_HTTP_TIMEOUT": "180",
            **settings.environ,
            "COMPOSE_PROFILES": "observe" if variant.observe else "",
        }
        self._base_image = settings.environ.get("BASE_IMAGE") or PYTHON_IMAGE
        files = _files(settings)
        if wants_embedded(settings) and variant.serving == "tensorflow":
            self._environ["COMPOSE_FILE"] = ":".join(name for name in files if name != EMBEDDED_FILE)
        elif variant.serving == "embedded" and not wants_embedded(settings):
            self._environ["COMPOSE_FILE"] = ":".join([*files, EMBEDDED_FILE])

    def is_up(self) -> bool:
        """Whether the gateway's container runs."""
        return bool(self._containers("gateway"))

    def exists(self) -> bool:
        """Whether there is any container of it, running or not."""
        return bool(self._quiet("ps", "-q", "-a").stdout.split())

    def up(self) -> None:
        """Fetch and build what is missing, start, wait for the chain; on failure leave nothing behind."""
        was_up = self.is_up()
        if not was_up:
            require_free([(self._settings.host, self._settings.port, "CLEARDIGITS_GATEWAY_PORT")])
        self._prepare_captures()
        self._fetch()
        try:
            self._build("building the images (the first time takes a minute or two)")
            self._loud("up", "starting the containers", "-d", "--scale", f"classifier={self.variant.classifiers}")
            self._wait_ready()
        except (StackError, KeyboardInterrupt):
            if not was_up:
                self.down()
            raise
        if (files := self._environ.get("COMPOSE_FILE")) != self._settings.environ.get("COMPOSE_FILE"):
            print(f"  plain docker compose means this stack with COMPOSE_FILE={files} in .env")

    def down(self) -> None:
        """Stop and remove containers and networks, those of every profile too."""
        ended = self._quiet("down", "--remove-orphans", profiles=PROFILES)
        if ended.returncode != 0:
            raise StackError(f"docker compose down failed: {last_line(ended.stderr)}")

    def status(self) -> list[tuple[str, str]]:
        """Each container with its state and health."""
        rows = []
        for name in SERVICES:
            found = [_inspect(container) for container in self._containers(name, all_states=True)]
            rows.append((name, ", ".join(found) or "not running"))
        return rows

    def logs(self, services: list[str], *, follow: bool) -> int:
        """Show the last lines of the services' logs; `follow` goes on until interrupted."""
        return subprocess.call(
            [*self._compose, "logs", "--tail", "50", *(["-f"] if follow else []), *services],
            env=self._environ,
            cwd=ROOT,
        )

    def restart(self, services: list[str]) -> None:
        """Stop and start these services, and wait until the chain is ready again."""
        restarted = self._quiet("restart", *services)
        if restarted.returncode != 0:
            raise StackError(f"docker compose restart failed: {last_line(restarted.stderr)}")
        self._wait_ready()

    def job(self, name: str, arguments: list[str]) -> int:
        """Run one of the jobs to its end as this user, on folders that user may write to."""
        uid = os.getuid() or JOB_USER
        self._environ |= {"CLEARDIGITS_UID": str(uid), "CLEARDIGITS_GID": str(os.getgid() or JOB_USER)}
        self._fetch()
        self._build("building the image (the first time takes minutes)", name)
        self._prepare_folders(uid)
        return subprocess.call(
            [*self._compose, "run", "--rm", "--no-deps", name, *arguments], env=self._environ, cwd=ROOT
        )

    def _prepare_captures(self) -> None:
        """Make the folder for captured pictures, if one is named: the gateway's file system is read-only."""
        if not (name := self._environ.get("CLEARDIGITS_GATEWAY_CAPTURE_DIR")):
            return
        if not (folder := Path(name)).is_absolute():
            raise StackError(f"CLEARDIGITS_GATEWAY_CAPTURE_DIR={name} is not an absolute path, which containers need")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if os.getuid() == 0:
                os.chown(folder, JOB_USER, JOB_USER)
        except OSError as exc:
            raise StackError(f"cannot make {folder}: {exc.strerror}") from exc

    def _prepare_folders(self, uid: int) -> None:
        """Make what the jobs write to before the engine does, which would make it root's."""
        given = self._environ.get
        keras = ROOT / (given("CLEARDIGITS_KERAS") or "var/keras")
        for folder in (
            keras / "datasets",
            ROOT / (given("CLEARDIGITS_RUNS") or "runs"),
            ROOT / (given("CLEARDIGITS_REPORTS") or "reports"),
        ):
            folder.mkdir(parents=True, exist_ok=True)
            if os.getuid() == 0:
                os.chown(folder, uid, uid)
        mnist = Path(given("CLEARDIGITS_MNIST") or Path.home() / ".keras/datasets/mnist.npz")
        cached = keras / "datasets/mnist.npz"
        if mnist.is_file() and not cached.exists():
            shutil.copyfile(mnist, cached)
            cached.chmod(0o644)
        for model in self._settings.models.iterdir():
            if model.is_dir() and os.getuid() == 0:
                os.chown(model, uid, uid)  # new versions appear in it; the versions themselves stay as they are

    def _fetch(self) -> None:
        """The images that are not built here; the base image may also be one that `make base-image` made."""
        if self.variant.serving == "tensorflow":
            image = self._environ.get("CLEARDIGITS_TFSERVING_IMAGE") or TFSERVING_IMAGE
            if reason := pull(image):
                raise ImageError(
                    f"{image} cannot be pulled ({reason}): make up MODE=docker SERVING=embedded does without it"
                )
        if "BASE_IMAGE" not in self._settings.environ and not has_image(PYTHON_IMAGE) and has_image(AIR_GAPPED_IMAGE):
            self._base_image = AIR_GAPPED_IMAGE
        if reason := pull(self._base_image):
            raise ImageError(
                f"{self._base_image} cannot be pulled ({reason}): sudo make base-image makes one from Debian's packages"
            )

    def _build(self, what: str, *services: str) -> None:
        """Build arguments are no part of a container's settings: `docker compose up -d` afterwards changes nothing."""
        arguments = {"BASE_IMAGE": self._base_image, "REVISION": _revision()}
        self._loud("build", what, *(f"--build-arg={name}={value}" for name, value in arguments.items()), *services)

    def _wait_ready(self) -> None:
        began = time.monotonic()
        if not chain.wait_until(
            lambda: chain.answers(f"{self._settings.url}/readyz"), timeout_s=START_TIMEOUT_S, every_s=0.2
        ):
            unwell = "; ".join(f"{name} {state}" for name, state in self.status())
            raise StackError(f"the chain was not ready after {START_TIMEOUT_S:.0f} s ({unwell}): make logs")
        print(f"  gateway ready after {time.monotonic() - began:.1f} s", flush=True)

    def _loud(self, verb: str, what: str, *arguments: str) -> None:
        """A step that takes long: its output goes to a log, a sign of life to the terminal."""
        print(f"  {what}", flush=True)
        make_folder(self._log.parent)
        began = time.monotonic()
        noted_s = 0.0
        with self._log.open("a+", encoding="utf-8", errors="replace") as log:
            start = log.seek(0, 2)
            step = subprocess.Popen(
                [*self._compose, verb, *arguments],
                env=self._environ, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
            try:
                while step.poll() is None:
                    time.sleep(0.1)
                    waited_s = time.monotonic() - began
                    if waited_s - noted_s > 10:
                        noted_s = waited_s
                        print(f"  still {what.split(' (')[0]} ({waited_s:.0f} s; {self._log})", flush=True)
            except KeyboardInterrupt:
                step.terminate()
                step.wait()
                raise
            if step.returncode != 0:
                log.seek(start)
                raise StackError(f"{what.split(' (')[0]} failed: {last_line(log.read())} (all of it: {self._log})")

    def _containers(self, service: str, *, all_states: bool = False) -> list[str]:
        found = self._quiet("ps", "-q", *(["-a"] if all_states else []), service)
        ids = found.stdout.split() if found.returncode == 0 else []
        return [id for id in ids if all_states or _inspect(id).startswith("running")]

    def _quiet(self, verb: str, *arguments: str, profiles: str | None = None) -> subprocess.CompletedProcess[str]:
        environ = {**self._environ, **({"COMPOSE_PROFILES": profiles} if profiles else {})}
        return subprocess.run(
            [*self._compose, verb, *arguments],
            env=environ, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip


def wants_embedded(settings: Settings) -> bool:
    """Whether plain `docker compose` runs the embedded model server here."""
    return EMBEDDED_FILE in _files(settings)


def _files(settings: Settings) -> list[str]:
    return (settings.environ.get("COMPOSE_FILE") or FILE).split(":")


def _inspect(container: str) -> str:
    """`running, healthy` or the like."""
    answer = run(["docker", "inspect", "--format", "{{json .State}}", container])
    if answer.returncode != 0:
        return "gone"
    state = json.loads(answer.stdout)
    health = state.get("Health", {}).get("Status")
    return f"{state['Status']} ({health})" if health else state["Status"]


def _revision() -> str:
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        return "unknown"
    return run(["git", "-C", ROOT, "rev-parse", "--short", "HEAD"]).stdout.strip() or "unknown"
