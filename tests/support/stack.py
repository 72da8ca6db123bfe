"""The whole local stack as child processes on free ports: two model servers and the gateway."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import requests

from deploy.stack.chain import wait_until
from services.core.model_digest import newest
from services.evaluator.command import ended_as_interrupted

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "models"
SHIPPED = newest(MODELS / "classifier")  # of both models
START_S = 30.0
STOP_S = 15.0
LANE, TCP, UNIX = "lane", "gRPC over TCP", "gRPC over a UNIX socket"  # between gateway and model servers


def free_port() -> int:
    """A TCP port that is free right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Child:
    """One service: started, stopped, killed, frozen and thawed at will; what it prints is kept."""

    name: str
    arguments: list[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None
    _output: BinaryIO = field(default_factory=tempfile.TemporaryFile)

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", *self.arguments],
            cwd=ROOT,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} was never started"
        return self._process.pid

    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int | None:
        """Send the signal and wait for the end; the exit status."""
        if self._process is None:
            return None
        if self.running():
            self._process.send_signal(signal.SIGCONT)  # a frozen process does not read its signals
            self._process.send_signal(number)
        try:
            return self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise AssertionError(f"{self.name} did not end within {STOP_S} s:\n{self.output()}") from None

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def freeze(self) -> None:
        """Stop it as if its machine hung, and wait until it has."""
        os.kill(self.pid, signal.SIGSTOP)
        state = Path(f"/proc/{self.pid}/stat")
        assert wait_until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", timeout_s=STOP_S)

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def close(self) -> None:
        """Stop for good: what it printed is gone."""
        try:
            self.stop()
        finally:
            self._output.close()

    def output(self) -> str:
        self._output.seek(0)
        return self._output.read().decode(errors="replace")


@dataclass
class Stack:
    """What a test talks to: `url`, the three services by name, and where each says its metrics."""

    url: str
    metrics: Mapping[str, str]  # service -> host:port
    denoiser: Child
    classifier: Child
    gateway: Child
    targets: Mapping[str, Mapping[str, str]]  # transport -> settings of a gateway that talks to these servers so

    @property
    def children(self) -> tuple[Child, Child, Child]:
        return self.denoiser, self.classifier, self.gateway

    def wait_ready(self, within_s: float = START_S) -> None:
        """Until /readyz answers 200; an AssertionError with all output when a process died or time is up."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            dead = [child for child in self.children if not child.running()]
            if dead:
                raise AssertionError("\n".join(f"{child.name} died:\n{child.output()}" for child in dead))
            try:
                if requests.get(f"{self.url}/readyz", timeout=2).status_code == 200:
                    return
            except requests.RequestException:
                pass  # not listening yet
            time.sleep(0.05)
        outputs = "\n".join(f"--- {child.name}\n{child.output()}" for child in self.children)
        raise AssertionError(f"{self.url} is not ready after {within_s} s\n{outputs}")


@contextmanager
def running_stack(
    models: Path = MODELS,
    gateway: Mapping[str, str] | None = None,
    *,
    lanes: Path | None = None,
    labels: Mapping[str, int] | None = None,
) -> Iterator[Stack]:
    """A ready stack; `gateway` holds settings without their prefix, such as {"REQUEST_TIMEOUT_MS": "500"}.

    With a folder for `lanes` the gateway talks through them, as `make up` has it; without, over gRPC. `labels` are of
    versions of both models.
    """
    ports = {name: free_port() for name in ("denoiser", "classifier", "gateway")}
    rest_ports = {name: free_port() for name in ("denoiser", "classifier")}
    lane_of = {name: lanes / f"{name}.sock" for name in rest_ports} if lanes else {}
    servers = [_model_server(name, ports[name], rest_ports[name], models, lane_of.get(name)) for name in rest_ports]
    metrics = {name: f"127.0.0.1:{port}" for name, port in {**ports, **rest_ports}.items()}
    targets = {TCP: {f"{name.upper()}_TARGET": f"127.0.0.1:{ports[name]}" for name in rest_ports}}
    if lanes:
        targets[LANE] = {f"{name.upper()}_TARGET": f"lane:{path}" for name, path in lane_of.items()}
        targets[UNIX] = {f"{name.upper()}_TARGET": f"unix:{_grpc_socket(path)}" for name, path in lane_of.items()}
    settings = {"PORT": str(ports["gateway"]), **targets[LANE if lanes else TCP], **(gateway or {})}
    denoiser, classifier = servers
    url = f"http://127.0.0.1:{ports['gateway']}"
    stack = Stack(url, metrics, denoiser, classifier, gateway_child(settings), targets)
    with ExitStack() as ends:
        if threading.current_thread() is threading.main_thread():  # no other may change what signals do
            ends.enter_context(ended_as_interrupted())
        if labels:
            folder = Path(ends.enter_context(tempfile.TemporaryDirectory()))
            for server in servers:
                server.arguments.append(f"--model_config_file={_labelled(server.name, models, labels, folder)}")
        for child in stack.children:
            child.start()
            ends.callback(child.close)
        stack.wait_ready()
        yield stack


def gateway_child(settings: Mapping[str, str]) -> Child:
    """A gateway by its settings without their prefix, not started."""
    environment = {f"CLEARDIGITS_GATEWAY_{name}": value for name, value in settings.items()}
    return Child("gateway", ["services.gateway"], environment)


def _grpc_socket(lane: Path) -> Path:
    return lane.with_suffix(".grpc")


def _model_server(name: str, port: int, rest_port: int, models: Path, lane: Path | None) -> Child:
    flags = {
        "port": port,
        "rest_api_port": rest_port,
        "host": "127.0.0.1",
        "model_name": name,
        "model_base_path": models / name,
        "monitoring_config_file": ROOT / "deploy/serving/monitoring.config",
    }
    if lane:
        flags |= {
            "lane_path": lane,
            "grpc_socket_path": _grpc_socket(lane),
            "enable_serialization_as_tensor_content": True,
        }
    return Child(name, ["services.model_server", *(f"--{flag}={value}" for flag, value in flags.items())])


def _labelled(name: str, models: Path, labels: Mapping[str, int], folder: Path) -> Path:
    said = " ".join(f'version_labels {{ key: "{label}" value: {version} }}' for label, version in labels.items())
    config = folder / f"{name}.config"
    config.write_text(
        f'model_config_list {{ config {{ name: "{name}" base_path: "{models / name}" '
        f'model_platform: "tensorflow" {said} }} }}'
    )
    return config
