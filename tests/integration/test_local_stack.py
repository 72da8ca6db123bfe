"""`make up MODE=local`: the whole chain as supervised processes, from the command line a person types."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from deploy.stack.chain import wait_until
from services.gateway.decoding.process import NAME
from tests.support.make_up import MakeUp, copy_checkout, type_curl
from tests.support.stack import MODELS, SHIPPED

SERVICES = ("denoiser", "classifier", "gateway")
RECOVERY_S = 45.0  # generous: the machine may be busy with other tests


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The stack after a first `make up`, with what that printed."""
    stack = MakeUp.on_free_ports(tmp_path_factory.mktemp("var"))
    started = stack.run("up", "MODE=local")
    assert started.returncode == 0, started.stdout + started.stderr
    yield stack, started.stdout
    ended = stack.run("down")
    assert ended.returncode == 0, ended.stdout + ended.stderr


def read(url: str) -> int | None:
    """The digit the chain reads in the sample, None when it does not answer."""
    sample = Path("docs/samples/noisy-7.png").read_bytes()
    try:
        answer = requests.post(f"{url}/v1/recognize", data=sample, headers={"Content-Type": "image/png"}, timeout=5)
    except requests.ConnectionError:
        return None
    return answer.json()["results"][0]["digit"] if answer.ok else None


def recovers(url: str) -> bool:
    return wait_until(lambda: read(url) == 7, timeout_s=RECOVERY_S)


def test_up_prints_the_url_a_curl_line_that_works_and_its_answer(made):
    stack, printed = made
    [line] = re.findall(r"curl .*", printed)
    answer = json.loads(printed.splitlines()[-1])

    assert f"open  {stack.url}" in printed
    assert answer["results"][0]["digit"] == 7
    assert json.loads(type_curl(line))["results"] == answer["results"]


def test_up_says_when_each_service_became_ready(made):
    _, printed = made

    for name in SERVICES:
        assert re.search(rf"{name} +ready after \d+\.\d s", printed)


def _services(stack):
    """Processes but for decoders, which the gateway replaces as it needs."""
    commands = stack.processes().items()
    return {pid: command for pid, command in commands if Path(f"/proc/{pid}/comm").read_text().strip() != NAME}


def test_second_up_is_harmless(made):
    stack, _ = made
    before = _services(stack)
    again = stack.run("up")  # no mode: it finds the one that runs

    assert again.returncode == 0, again.stderr
    assert _services(stack) == before
    assert json.loads(again.stdout.splitlines()[-1])["results"][0]["digit"] == 7


def test_status_names_every_service_and_the_chain(made):
    stack, _ = made
    status = stack.run("status")

    assert status.returncode == 0
    assert re.findall(r"(\w+) +running, process \d+", status.stdout) == list(SERVICES)
    assert f"ready at {stack.url}" in status.stdout


def test_status_says_which_model_does_not_answer(made):
    stack, _ = made
    denoiser = stack.process("--model_name=denoiser")
    os.kill(denoiser, signal.SIGSTOP)
    try:
        said = wait_until(lambda: "not ready: denoiser d" in stack.run("status").stdout, timeout_s=RECOVERY_S)
    finally:
        os.kill(denoiser, signal.SIGCONT)

    assert said
    assert recovers(stack.url)


def test_logs_show_one_service_or_all(made):
    stack, _ = made
    read(stack.url)

    assert '"/v1/recognize"' in stack.run("logs", "SERVICE=gateway").stdout
    assert {name for name in SERVICES if f"{name}.log" in stack.run("logs").stdout} == set(SERVICES)


@pytest.mark.parametrize("words", ["--model_name=denoiser", "--model_name=classifier", "services.gateway"])
def test_killed_process_comes_back(made, words):
    stack, _ = made
    before = stack.processes()
    pid = stack.process(words)
    os.kill(pid, signal.SIGKILL)
    assert wait_until(
        lambda: pid not in stack.processes() and sorted(stack.processes().values()) == sorted(before.values()),
        timeout_s=RECOVERY_S,
    )

    assert recovers(stack.url)
    assert stack.process(words) != pid


def test_restart_replaces_one_process_and_only_that(made):
    stack, _ = made
    before = stack.processes()
    restarted = stack.run("restart", "SERVICE=classifier")
    after = stack.processes()

    assert restarted.returncode == 0, restarted.stderr
    assert sorted(before.values()) == sorted(after.values())
    assert ["--model_name=classifier" in before[pid] for pid in before.keys() - after.keys()] == [True]


def test_other_mode_is_refused_while_this_one_runs(made):
    stack, _ = made
    refused = stack.run("up", "MODE=docker")

    assert refused.returncode != 0
    assert said(refused) == ["up: the chain already runs in local mode: make down first"]


def test_only_the_loopback_address_is_bound(made):
    stack, _ = made
    inodes = {
        link.readlink().name
        for pid in stack.processes()
        for link in Path(f"/proc/{pid}/fd").iterdir()
        if link.is_symlink() and str(link.readlink()).startswith("socket:")
    }
    listening = [
        columns[1].split(":")[0]
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]
        if (columns := line.split())[3] == "0A" and f"socket:[{columns[9]}]" in inodes
    ]

    assert len(listening) >= 5
    # 127.0.0.1 and ::ffff:127.0.0.1, as the kernel writes them
    assert set(listening) <= {"0100007F", "0000000000000000FFFF00000100007F"}


def test_down_leaves_nothing_behind_and_logs_are_as_private_as_the_umask_says(tmp_path):
    stack = MakeUp.on_free_ports(tmp_path)
    mask = os.umask(0o077)
    try:
        assert stack.run("up", "MODE=local").returncode == 0
    finally:
        os.umask(mask)
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "log").iterdir()} == {0}
    down = stack.run("down")

    assert down.returncode == 0
    assert_nothing_is_left(stack)
    assert stack.run("down").stdout == "nothing is running\n"


def test_up_after_the_supervisor_was_killed_starts_afresh(tmp_path):
    stack = MakeUp.on_free_ports(tmp_path)
    assert stack.run("up", "MODE=local").returncode == 0
    first = stack.processes()
    os.kill(stack.process("supervisord"), signal.SIGKILL)
    status = stack.run("status")
    again = stack.run("up", "MODE=local")
    running = stack.processes()
    down = stack.run("down")

    assert status.returncode != 0
    assert re.fullmatch(r"supervisord has ended, \d+ processes run without it: .*\n", status.stdout)
    assert again.returncode == 0, again.stderr
    assert sorted(running.values()) == sorted(first.values())  # the orphans are gone
    assert down.returncode == 0
    assert_nothing_is_left(stack)


def test_a_checkout_in_a_folder_with_spaces_works(tmp_path):
    """Paths of the checkout, of its models and of the virtual environment stand in command lines."""
    checkout = copy_checkout(tmp_path / "a b" / "clear digits")
    venv = tmp_path / "a b" / "its packages"
    venv.symlink_to(sys.prefix)
    stack = MakeUp.on_free_ports(checkout / "var", root=checkout, CLEARDIGITS_VENV=str(venv))
    started = stack.run("up", "MODE=local")
    answer = read(stack.url)
    down = stack.run("down")

    assert started.returncode == 0, started.stdout + started.stderr
    assert answer == 7
    assert down.returncode == 0, down.stdout + down.stderr
    assert stack.processes() == {}


@pytest.mark.parametrize("name", ["GATEWAY_PORT", "DENOISER_PORT", "CLASSIFIER_REST_PORT"])
def test_port_in_use_is_one_line_and_leaves_nothing(tmp_path, name):
    stack = MakeUp.on_free_ports(tmp_path)
    port = int(stack.environ[f"CLEARDIGITS_{name}"])
    with socket.create_server(("127.0.0.1", port)):
        refused = stack.run("up", "MODE=local")

    assert refused.returncode != 0
    assert said(refused) == [
        f"up: cannot listen on 127.0.0.1:{port} (Address already in use): "
        f"end what uses it, or set CLEARDIGITS_{name} in .env"
    ]
    assert_nothing_is_left(stack)


def test_a_folder_that_cannot_be_written_is_one_line_and_nothing_starts(tmp_path):
    """A full disk, for one: here a folder lies where a file belongs, so that root is refused too."""
    stack = MakeUp.on_free_ports(tmp_path)
    (tmp_path / "stack.json").mkdir()
    up = stack.run("up", "MODE=local")

    assert up.returncode != 0
    assert f"up: {tmp_path}/stack.json cannot be written (Is a directory)\n" in up.stderr
    assert "Traceback" not in up.stderr
    assert_nothing_is_left(stack)


def test_a_limit_that_supervisord_cannot_work_with_is_named(tmp_path):
    stack = MakeUp.on_free_ports(tmp_path)
    limited = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", sys.executable, "-m", "deploy.stack", "up", "--mode=local"]
    up = subprocess.run(limited, cwd=stack.root, env=stack.environ, capture_output=True, text=True, timeout=60)

    assert up.returncode == 1
    assert re.search(r"^up: supervisord did not start: .*file descriptors", up.stderr, re.MULTILINE)
    assert_nothing_is_left(stack)


def test_service_that_cannot_start_is_one_line_and_leaves_nothing(tmp_path):
    stack = MakeUp.on_free_ports(tmp_path, CLEARDIGITS_GATEWAY_WORKERS="many")
    refused = stack.run("up", "MODE=local")

    assert refused.returncode != 0
    [line] = said(refused)
    assert line.startswith("up: gateway does not start: ")
    assert "CLEARDIGITS_GATEWAY_WORKERS" in line
    assert_nothing_is_left(stack)


def test_program_that_cannot_be_spawned_names_a_log_that_exists(tmp_path):
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin/supervisord").symlink_to(Path(sys.prefix) / "bin/supervisord")  # and no python beside it
    stack = MakeUp.on_free_ports(tmp_path / "var", CLEARDIGITS_VENV=str(venv))
    refused = stack.run("up", "MODE=local")

    assert refused.returncode != 0
    [line] = said(refused)
    assert Path(line.rpartition("all of it: ")[2].rstrip(")")).is_file()
    assert "spawnerr: can't find command" in line
    assert_nothing_is_left(stack)


def test_missing_models_are_one_line_and_leave_nothing(tmp_path):
    stack = MakeUp.on_free_ports(tmp_path / "var", CLEARDIGITS_MODELS=str(tmp_path / "nowhere"))
    refused = stack.run("up", "MODE=local")

    assert refused.returncode != 0
    [line] = said(refused)
    assert "does not start" in line and str(tmp_path / "nowhere") in line
    assert_nothing_is_left(stack)


def said(failed) -> list[str]:
    """What a person reads on the error stream, without make's own `*** Error`."""
    return [line for line in failed.stderr.splitlines() if not line.startswith("make: ***")]


def assert_nothing_is_left(stack: MakeUp) -> None:
    assert stack.processes() == {}
    assert not (stack.var / "supervisor.sock").exists()
    assert stack.run("status").stdout == "nothing is running: make up\n"


def test_files_say_which_versions_are_served_under_which_labels_as_in_compose(tmp_path):
    for name in ("denoiser", "classifier"):
        labels = " ".join(f'version_labels {{ key: "{label}" value: {SHIPPED} }}' for label in ("stable", "canary"))
        (tmp_path / f"{name}.config").write_text(
            f'model_config_list {{ config {{ name: "{name}" base_path: "{MODELS / name}" model_platform: "tensorflow" '
            f"model_version_policy {{ latest {{ num_versions: 2 }} }} {labels} }} }}"
        )
    stack = MakeUp.on_free_ports(
        tmp_path / "var",
        CLEARDIGITS_MODEL_CONFIGS=str(tmp_path),
        CLEARDIGITS_GATEWAY_SPLIT="stable:100,canary:0",
        CLEARDIGITS_GATEWAY_SHADOW_LABEL="canary",
        CLEARDIGITS_GATEWAY_SHADOW_SHARE="1",
    )
    try:
        started = stack.run("up", "MODE=local")
        assert started.returncode == 0, started.stdout + started.stderr
        answers = [
            requests.post(
                f"{stack.url}/v1/recognize", data=Path("docs/samples/noisy-7.png").read_bytes(), timeout=10,
                headers={"Content-Type": "image/png", **headers},
            )
            for headers in ({}, {"X-ClearDigits-Label": "canary"})
        ]  # fmt: skip
        said = [(answer.json()["label"], answer.json()["results"][0]["digit"]) for answer in answers]
        assert said == [("stable", 7), ("canary", 7)]
        agreed = 'cleardigits_shadow_pictures_total{outcome="agreed"} 2.0'  # ours, and the sample that make up sends
        assert wait_until(lambda: agreed in requests.get(f"{stack.url}/metrics", timeout=5).text, timeout_s=RECOVERY_S)
    finally:
        stack.run("down")


def test_a_folder_without_those_files_is_named(tmp_path):
    failed = MakeUp.on_free_ports(tmp_path / "var", CLEARDIGITS_MODEL_CONFIGS=str(tmp_path)).run("up", "MODE=local")

    assert failed.returncode != 0
    assert f"CLEARDIGITS_MODEL_CONFIGS={tmp_path} has no denoiser.config" in failed.stdout + failed.stderr
