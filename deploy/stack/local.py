"""The chain as local processes under supervisord: no Docker engine, no root, nothing outside this folder."""

import contextlib
import hashlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path

from deploy.stack import chain, supervisor
from deploy.stack.errors import StackError, last_line
from deploy.stack.ports import require_free
from deploy.stack.settings import ROOT, SERVE_VENV, Settings, make_folder

SERVICES = ("denoiser", "classifier", "gateway")
START_TIMEOUT_S = 60.0
WORKERS = 2  # of the gateway: on two cores they answer 1.3 times the requests of one at 16 and 64 clients
# Everything shares this machine's cores: fewer, larger calls of the models take a tenth less of them at 16 clients and
# more, a quarter less over gRPC.
PARTIAL_IN_FLIGHT = 1
CONFIG = ROOT / "deploy/local/supervisord.conf"


class LocalStack:
    """`up`, `down` and the rest, for processes of this machine."""

    mode = "local"

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._logs = settings.var / "log"
        self._socket = _socket_path(settings.var, "supervisor")
        self._lanes = {name: _socket_path(settings.var, name) for name in ("denoiser", "classifier")}
        self._ready_urls = {
            "denoiser": f"http://127.0.0.1:{settings.denoiser_rest_port}/v1/models/denoiser/metadata",
            "classifier": f"http://127.0.0.1:{settings.classifier_rest_port}/v1/models/classifier/metadata",
            "gateway": f"{settings.url}/readyz",
        }

    def is_up(self) -> bool:
        """Whether a supervisord of this folder runs."""
        return bool(supervisor.processes(self._socket))

    def up(self) -> None:
        """Start what does not run and wait until every process is ready; on failure leave nothing behind."""
        if self.is_up():
            self._start_stopped()
        else:
            self._install()
            self._end_leftovers()
            require_free(self._listeners())
            self._start()
        try:
            self._wait_ready()
        except (StackError, KeyboardInterrupt):
            self.down()
            raise

    def down(self) -> None:
        """End every process: supervisord asks each to finish, and ends those that do not."""
        if self.is_up():
            with supervisor.connect(self._socket) as interface:
                pid = interface.getPID()
                interface.shutdown()
            chain.wait_until(lambda: not _runs(pid), timeout_s=60)
        self._end_leftovers()
        for path in (self._socket, *self._lanes.values()):
            path.unlink(missing_ok=True)

    def status(self) -> list[tuple[str, str]]:
        """Each service with a few words on how it does."""

        def found() -> dict[str, supervisor.Process]:
            return {process.name: process for process in supervisor.processes(self._socket)}

        # supervisord calls a process running when it has lived for a second: by then it may have answered for long
        chain.wait_until(lambda: all(each.state != "STARTING" for each in found().values()), timeout_s=2)
        processes = found()
        return [(name, _describe(processes.get(name))) for name in SERVICES]

    def logs(self, services: list[str], *, follow: bool) -> int:
        """Show the last lines of the services' logs; `follow` goes on until interrupted."""
        files = [str(path) for name in services if (path := self._logs / f"{name}.log").exists()]
        if not files:
            raise StackError("there are no logs yet: make up")
        return subprocess.call(["tail", "-n", "50", *(["-F"] if follow else []), *files])

    def restart(self, services: list[str]) -> None:
        """Stop and start these services, and wait until they are ready again."""
        with supervisor.connect(self._socket) as interface:
            for name in services:
                with contextlib.suppress(xmlrpc.client.Fault):  # it was not running: it will be in the end
                    interface.stopProcess(name)
                interface.startProcess(name, False)
        self._wait_ready()

    def _install(self) -> None:
        """The virtual environment with what serving needs, made once; one of the person's own is taken as it is."""
        venv = self._settings.venv
        if venv == ROOT / SERVE_VENV:
            if subprocess.call(["make", "-s", "--no-print-directory", SERVE_VENV], cwd=ROOT) != 0:
                raise StackError(
                    "the virtual environment could not be made (reason above): "
                    "it needs a package index within reach, and python3-venv on Debian"
                )
        elif not (venv / "bin/supervisord").exists():
            raise StackError(f"CLEARDIGITS_VENV={venv} has no supervisor: pip install -r requirements/serve.txt there")

    def _start(self) -> None:
        settings = self._settings
        make_folder(self._logs)
        for name in SERVICES:  # of the last run: a failure below must not quote an old line
            log = self._logs / f"{name}.log"
            if log.exists():
                log.replace(log.with_suffix(".log.last"))
        defaults = {
            "CLEARDIGITS_GATEWAY_DENOISER_TARGET": f"lane:{self._lanes['denoiser']}",
            "CLEARDIGITS_GATEWAY_CLASSIFIER_TARGET": f"lane:{self._lanes['classifier']}",
            "CLEARDIGITS_GATEWAY_WORKERS": str(min(WORKERS, os.cpu_count() or 1)),
            "CLEARDIGITS_GATEWAY_PARTIAL_IN_FLIGHT": str(PARTIAL_IN_FLIGHT),
        }
        environ = {
            **defaults,
            **settings.environ,
            "PYTHONUNBUFFERED": "1",
            "STACK_ROOT": str(ROOT),
            "STACK_VAR": str(settings.var),
            "STACK_LOGS": str(self._logs),
            "STACK_SOCKET": str(self._socket),
            "STACK_UMASK": f"{_umask():03o}",
            "STACK_PYTHON": shlex.quote(str(settings.venv / "bin/python")),
            "STACK_DENOISER_PORT": str(settings.denoiser_port),
            "STACK_DENOISER_REST_PORT": str(settings.denoiser_rest_port),
            "STACK_DENOISER_LANE": shlex.quote(str(self._lanes["denoiser"])),
            "STACK_DENOISER_VERSIONS": self._versions("denoiser"),
            "STACK_CLASSIFIER_PORT": str(settings.classifier_port),
            "STACK_CLASSIFIER_REST_PORT": str(settings.classifier_rest_port),
            "STACK_CLASSIFIER_LANE": shlex.quote(str(self._lanes["classifier"])),
            "STACK_CLASSIFIER_VERSIONS": self._versions("classifier"),
        }
        started = subprocess.run(
            [settings.venv / "bin/supervisord", "-c", CONFIG],
            env=environ, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        )  # fmt: skip
        if started.returncode != 0:
            said = (started.stderr + started.stdout).partition("For help, use")[0]
            raise StackError(f"supervisord did not start: {last_line(said)}")

    def _versions(self, name: str) -> str:
        """Flags that say which versions a model server serves; those of Compose where a file says it."""
        if self._settings.model_configs is None:
            return f"--model_base_path={shlex.quote(str(self._settings.models / name))}"
        file = self._settings.model_configs / f"{name}.config"
        if not file.is_file():
            raise StackError(f"CLEARDIGITS_MODEL_CONFIGS={self._settings.model_configs} has no {file.name}")
        flags = "--model_config_file_poll_wait_seconds=10 --allow_version_labels_for_unavailable_models"
        return f"--model_config_file={shlex.quote(str(file))} {flags}"

    def _start_stopped(self) -> None:
        with supervisor.connect(self._socket) as interface:
            for process in supervisor.processes(self._socket):
                if process.state in ("STOPPED", "EXITED", "FATAL"):
                    interface.startProcess(process.name, False)

    def _wait_ready(self) -> None:
        """Say what became ready when; StackError with the service's own last words when one cannot start."""
        began = time.monotonic()
        waiting = dict(self._ready_urls)
        noted_s = 0.0
        while waiting:
            for name in [name for name, url in waiting.items() if chain.answers(url)]:
                del waiting[name]
                print(f"  {name:<11} ready after {time.monotonic() - began:.1f} s", flush=True)
            waited_s = time.monotonic() - began
            if waiting and waited_s - noted_s > 5:
                noted_s = waited_s
                print(f"  waiting for {', '.join(waiting)} ({waited_s:.0f} s)", flush=True)
            for process in supervisor.processes(self._socket):
                ended = process.state in ("BACKOFF", "EXITED", "FATAL")
                if process.name in waiting and (ended or waited_s > START_TIMEOUT_S):
                    log = self._logs / f"{process.name}.log"
                    if not log.exists() or not log.stat().st_size:  # it could not even be spawned
                        log = self._logs / "supervisord.log"
                    said = last_line(log.read_text(errors="replace"))
                    raise StackError(f"{process.name} does not start: {said or process.state} (all of it: {log})")
            time.sleep(0.02)

    def _listeners(self) -> Iterator[tuple[str, int, str]]:
        settings = self._settings
        yield settings.host, settings.port, "CLEARDIGITS_GATEWAY_PORT"
        yield "127.0.0.1", settings.denoiser_port, "CLEARDIGITS_DENOISER_PORT"
        yield "127.0.0.1", settings.denoiser_rest_port, "CLEARDIGITS_DENOISER_REST_PORT"
        yield "127.0.0.1", settings.classifier_port, "CLEARDIGITS_CLASSIFIER_PORT"
        yield "127.0.0.1", settings.classifier_rest_port, "CLEARDIGITS_CLASSIFIER_REST_PORT"

    def leftovers(self) -> list[int]:
        """Processes whose supervisord was killed. Linux: supervisord marks its children's environment."""
        mark = f"SUPERVISOR_SERVER_URL=unix://{self._socket}\0".encode()
        orphans = []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            try:
                if mark in environ.read_bytes():
                    orphans.append(int(environ.parent.name))
            except OSError:  # gone meanwhile, or another user's
                continue
        return orphans

    def _end_leftovers(self) -> None:
        orphans = self.leftovers()
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGKILL)
        chain.wait_until(lambda: not any(_runs(pid) for pid in orphans), timeout_s=5)


def _socket_path(var: Path, name: str) -> Path:
    """In the stack's folder, or in the system's temporary one where that would be too long for a socket's name."""
    path = var / f"{name}.sock"
    if len(str(path)) < 90:
        return path
    digest = hashlib.sha256(str(var).encode()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"cleardigits-{digest}-{name}.sock"


def _umask() -> int:
    """Of this process, which supervisord would else replace: logs and captures are as private as the operator wants."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _runs(pid: int) -> bool:
    """Whether this process exists and is more than an entry waiting to be collected, all threads ended."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state != "Z" or len(list(Path(f"/proc/{pid}/task").iterdir())) > 1
    except OSError:  # gone meanwhile, or a system without /proc
        return sys.platform != "linux"


def _describe(process: supervisor.Process | None) -> str:
    if process is None:
        return "not running"
    if not process.pid:
        return process.state.lower()
    return f"{process.state.lower()}, process {process.pid}, for {process.uptime_s} s"
