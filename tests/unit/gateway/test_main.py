"""`python -m services.gateway`: what it says and how it ends when it cannot start."""

import ctypes
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import psutil
import pytest

ROOT = Path(__file__).parents[3]


def as_other_users() -> None:
    """Drop root's right to write everywhere from what the next program gets; for other users this does nothing."""
    cap_dac_override, pr_capbset_drop = 1, 24  # linux/capability.h, linux/prctl.h
    ctypes.CDLL(None).prctl(pr_capbset_drop, cap_dac_override, 0, 0, 0)


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **{f"CLEARDIGITS_GATEWAY_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "services.gateway", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30, preexec_fn=as_other_users
    )


def test_help_says_where_the_settings_are():
    finished = run("--help")

    assert finished.returncode == 0
    assert "CLEARDIGITS_GATEWAY_*" in finished.stdout


@pytest.mark.parametrize(
    ("arguments", "settings", "said"),
    [
        (("--port=1",), {}, "--port=1"),
        ((), {"PROT": "8080"}, "CLEARDIGITS_GATEWAY_PROT is not a setting"),
        ((), {"API_KEYS_FILE": "/nowhere"}, "/nowhere"),
        ((), {"DENOISER_TARGET": "nonsense"}, "CLEARDIGITS_GATEWAY_DENOISER_TARGET: 'nonsense' is not host:port"),
        (
            (),
            {"CAPTURE_DIR": "/proc/captures"},
            "CLEARDIGITS_GATEWAY_CAPTURE_DIR=/proc/captures cannot be used: No such",
        ),
        ((), {"CAPTURE_DIR": "README.md"}, "CAPTURE_DIR=README.md cannot be used: File exists"),
    ],
)
def test_a_mistake_of_the_operator_is_one_message_and_status_2(arguments, settings, said):
    finished = run(*arguments, **settings)

    assert finished.returncode == 2
    assert said in finished.stderr
    assert len(finished.stderr.splitlines()) == 1 or arguments  # of an argument, argparse shows the usage first
    assert "Traceback" not in finished.stderr


@pytest.mark.parametrize("closed", ["", "captures.db"])
def test_captures_that_cannot_be_written_are_told_at_the_start(tmp_path, closed):
    (tmp_path / "captures.db").touch()
    (tmp_path / closed).chmod(0o555)

    finished = run(CAPTURE_DIR=str(tmp_path))
    (tmp_path / closed).chmod(0o755)

    assert finished.returncode == 2
    assert f"{tmp_path / closed} cannot be written" in finished.stderr


def test_a_port_in_use_is_one_line_and_status_1():
    with socket.create_server(("127.0.0.1", 0)) as other:
        finished = run(PORT=str(other.getsockname()[1]))

    assert finished.returncode == 1
    assert "cannot listen" in finished.stdout
    assert finished.stderr == ""


def test_a_grpc_port_in_use_is_one_line_and_status_1():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        finished = run(PORT="0", GRPC_PORT=port)

    assert finished.returncode == 1
    assert "cannot listen" in finished.stdout
    assert port in finished.stdout
    assert finished.stderr == ""


def test_an_address_of_nobody_is_one_line_and_status_1():
    finished = run(HOST="192.0.2.1", PORT="8080")

    assert finished.returncode == 1
    assert "cannot listen" in finished.stdout
    assert finished.stderr == ""


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@contextmanager
def started(**settings: str) -> Iterator[subprocess.Popen[str]]:
    """A gateway that has said that it listens."""
    environ = {**os.environ, **{f"CLEARDIGITS_GATEWAY_{name}": value for name, value in settings.items()}}
    gateway = subprocess.Popen(
        [sys.executable, "-m", "services.gateway"], cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True
    )
    with gateway:
        try:
            assert gateway.stdout is not None
            assert "listening" in gateway.stdout.readline()
            yield gateway
        finally:
            gateway.kill()


@pytest.mark.parametrize(("hard", "allowed"), [(5000, 2304), (1024, 1024)])
def test_the_limit_of_open_files_is_raised_for_the_connections_or_named(hard, allowed):
    command = f'ulimit -Sn 512 && ulimit -Hn {hard} && exec "$0" -m services.gateway'
    environ = {**os.environ, "CLEARDIGITS_GATEWAY_PORT": "0"}
    with subprocess.Popen(
        ["bash", "-c", command, sys.executable], cwd=ROOT, env=environ, stdout=subprocess.PIPE, text=True
    ) as gateway:
        try:
            assert gateway.stdout is not None
            first = gateway.stdout.readline()
            if "listening" not in first:
                assert "listening" in gateway.stdout.readline()
            found = psutil.Process(gateway.pid).rlimit(psutil.RLIMIT_NOFILE)
        finally:
            gateway.kill()

    assert found == (allowed, hard)
    assert ("the limit of open files is too low" in first) == (allowed == hard)


def ports_of(gateway: subprocess.Popen[str]) -> set[int]:
    """Where it and its workers accept connections."""
    tree = [psutil.Process(gateway.pid), *psutil.Process(gateway.pid).children(recursive=True)]
    found = [each for process in tree for each in process.net_connections("tcp") if each.status == "LISTEN"]
    return {each.laddr.port for each in found}


def test_a_signal_while_workers_still_start_is_not_lost():
    with started(PORT=free_port()) as gateway:
        began = time.monotonic()
        gateway.terminate()
        status = gateway.wait(20)

    assert status == 0
    assert time.monotonic() - began < 9  # it is killed after ten


@pytest.mark.parametrize("workers", ["1", "2"])
def test_grpc_is_served_where_a_port_is_set(workers):
    port, grpc_port = free_port(), free_port()
    with started(PORT=port, GRPC_PORT=grpc_port, WORKERS=workers) as gateway:
        with grpc.insecure_channel(f"127.0.0.1:{grpc_port}") as channel:
            live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")(
                b"", timeout=20, wait_for_ready=True
            )
        ports = ports_of(gateway)
        gateway.terminate()
        status = gateway.wait(20)

    assert live == b"\x08\x01"  # live: true
    assert ports == {int(port), int(grpc_port)}
    assert status == 0


def test_without_a_grpc_port_nothing_listens_for_it():
    port = free_port()
    with started(PORT=port) as gateway:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=20).close()  # the worker runs
        ports = ports_of(gateway)

    assert ports == {int(port)}
