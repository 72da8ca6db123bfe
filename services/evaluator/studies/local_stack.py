"""Services as child processes on free ports, for measurements that need a stack of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from services.evaluator.client import GatewayClient
from services.evaluator.errors import GatewayError

START_S = 60.0
STOP_S = 20.0
STDERR = 2
ROOT = Path(__file__).parents[3]


def free_port() -> int:
    """A TCP port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def model_server(name: str, base_path: Path) -> Iterator[str]:
    """One model behind gRPC; answers its target."""
    port = free_port()
    flags = {"host": "127.0.0.1", "port": port, "model_name": name, "model_base_path": base_path.resolve()}
    with _child("services.model_server", [f"--{flag}={value}" for flag, value in flags.items()], {}):
        yield f"127.0.0.1:{port}"


@contextmanager
def gateway(denoiser: str, classifier: str, **settings: str) -> Iterator[GatewayClient]:
    """A gateway in front of two model servers, ready to be measured."""
    port = str(free_port())
    settings = {
        "port": port,
        "denoiser_target": denoiser,
        "classifier_target": classifier,
        "access_log": "errors",
        **settings,
    }
    variables = {f"CLEARDIGITS_GATEWAY_{name.upper()}": value for name, value in settings.items()}
    with _child("services.gateway", [], variables) as process:
        client = GatewayClient(f"http://127.0.0.1:{port}", patient=False)
        _wait_ready(client, process)
        yield client


def _wait_ready(client: GatewayClient, process: subprocess.Popen[bytes]) -> None:
    ends = time.monotonic() + START_S
    while True:
        try:
            return client.require_ready()
        except GatewayError:
            if process.poll() is not None or time.monotonic() > ends:
                raise
        time.sleep(0.1)


@contextmanager
def _child(module: str, arguments: Sequence[str], variables: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """One process; what it logs goes to stderr, and it ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments], env={**os.environ, **variables}, stdout=STDERR, cwd=ROOT
    )
    with ExitStack() as ends:
        ends.callback(process.wait, STOP_S)
        ends.callback(process.terminate)
        yield process
