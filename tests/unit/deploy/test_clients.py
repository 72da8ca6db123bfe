"""Clients of a chain whose ports were moved in .env ask where it listens."""

import json
import subprocess
import sys

import pytest
import yaml

from deploy.stack import clients
from deploy.stack.settings import ROOT, Settings

MOVED = {
    "CLEARDIGITS_GATEWAY_PORT": "18500",
    "CLEARDIGITS_DENOISER_REST_PORT": "18501",
    "CLEARDIGITS_CLASSIFIER_REST_PORT": "18511",
    "CLEARDIGITS_MODELS": "/srv/my models",
}
SHOW = "import json, os; print(json.dumps(dict(os.environ)))"


def environ_of_client(environ: dict[str, str]) -> dict[str, str]:
    command = [sys.executable, "-m", "deploy.stack", "env", sys.executable, "-c", SHOW]
    return json.loads(subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True).stdout)


def test_a_client_is_told_the_moved_port_and_the_models():
    environ = environ_of_client(MOVED)

    assert environ["CLEARDIGITS_EVALUATOR_URL"] == "http://127.0.0.1:18500"
    assert environ["CLEARDIGITS_EVALUATOR_MODELS"] == "/srv/my models"


def test_an_address_that_was_given_wins():
    environ = environ_of_client({**MOVED, "CLEARDIGITS_EVALUATOR_URL": "http://elsewhere:1"})

    assert environ["CLEARDIGITS_EVALUATOR_URL"] == "http://elsewhere:1"


def test_settings_of_the_file_reach_the_client(tmp_path):
    file = tmp_path / ".env"
    file.write_text("CLEARDIGITS_MNIST=/data/mnist.npz\nCLEARDIGITS_GATEWAY_PORT=18500\n")
    environ = clients.environ(Settings.load({}, file))

    assert environ["CLEARDIGITS_MNIST"] == "/data/mnist.npz"
    assert environ["CLEARDIGITS_EVALUATOR_URL"] == "http://127.0.0.1:18500"


def test_a_program_that_is_not_there_is_one_line():
    command = [sys.executable, "-m", "deploy.stack", "env", "no-such-program"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (1, "env: no-such-program is not installed\n")


def test_prometheus_looks_where_the_processes_listen():
    local = yaml.safe_load(clients.PROMETHEUS_CONFIG.read_text())
    moved = yaml.safe_load(clients.prometheus_config(Settings.load(MOVED, ROOT / "no such file")))

    def targets(config: dict) -> list[str]:
        return [job["static_configs"][0]["targets"][0] for job in config["scrape_configs"]]

    assert targets(local) == ["127.0.0.1:8080", "127.0.0.1:8501", "127.0.0.1:8511"]
    assert targets(moved) == ["127.0.0.1:18500", "127.0.0.1:18501", "127.0.0.1:18511"]
    assert moved["rule_files"] == [str(ROOT / "deploy/prometheus/rules/*.yml")]
    assert moved.keys() == local.keys()


@pytest.mark.parametrize("target", ["evaluate", "load", "loadgen", "notebook", "train"])
def test_make_runs_clients_with_the_stack_s_settings(target):
    recipe = subprocess.run(["make", "-n", target], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    assert "-m deploy.stack env .venvs/" in recipe


def test_no_program_is_one_line():
    done = subprocess.run([sys.executable, "-m", "deploy.stack", "env"], cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (1, "env: which program? python -m deploy.stack env PROGRAM ARGUMENTS\n")
