"""`python -m services.gateway`: what it says and how it ends when it cannot start."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


def run(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, **{f"CLEARDIGITS_GATEWAY_{name}": value for name, value in settings.items()}}
    command = [sys.executable, "-m", "services.gateway", *arguments]
    return subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=30)


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
    ],
)
def test_a_mistake_of_the_operator_is_one_message_and_status_2(arguments, settings, said):
    finished = run(*arguments, **settings)

    assert finished.returncode == 2
    assert said in finished.stderr
    assert "Traceback" not in finished.stderr


def test_a_port_in_use_is_one_line_and_status_1():
    with socket.create_server(("127.0.0.1", 0)) as other:
        finished = run(PORT=str(other.getsockname()[1]))

    assert finished.returncode == 1
    assert "cannot listen" in finished.stdout
    assert finished.stderr == ""


def test_an_address_of_nobody_is_one_line_and_status_1():
    finished = run(HOST="192.0.2.1", PORT="8080")

    assert finished.returncode == 1
    assert "cannot listen" in finished.stdout
    assert finished.stderr == ""


def test_a_signal_while_workers_still_start_is_not_lost():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    gateway = subprocess.Popen(
        [sys.executable, "-m", "services.gateway"],
        cwd=ROOT,
        env={**os.environ, "CLEARDIGITS_GATEWAY_PORT": port},
        stdout=subprocess.PIPE,
        text=True,
    )
    with gateway:
        assert "listening" in gateway.stdout.readline()
        started = time.monotonic()
        gateway.terminate()
        status = gateway.wait(20)

    assert status == 0
    assert time.monotonic() - started < 5  # it is killed after ten
