"""Runs in MLflow, in a SQLite file: what is kept of a run folder, and aliases that follow the gate."""

import json
import sys

import pytest

from tests.support.digits import synthetic_mnist
from tests.support.tiny_training import tiny_outcome
from training import __main__ as command
from training import job, runs
from training.data.dataset import split
from training.errors import GateError, TrackingError
from training.tracking import CHALLENGER, CHAMPION, EXPERIMENT, MODEL, Tracker, numbers

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # MLflow, SQLAlchemy and their like warn of their own doings
    pytest.mark.timeout(300),  # a new database is some fifty tables
]


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'runs' / 'mlflow.db'}"


@pytest.fixture(scope="module")
def client(uri):
    Tracker.open(uri)
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)


@pytest.fixture
def workdir(tmp_path):
    """A finished run."""
    folder = tmp_path / "default-7"
    folder.mkdir()
    results = {
        "recipe": "default", "command": "python -m training --epochs 2", "epochs": 2, "figures": {"test loss": 0.25},
        "parameters": {"denoiser": 46682}, "measured": {"clean": 0.99, "chain": {"gaussian": {"0.5": 0.95}},
        "confusion": [[1, 2]], "wide": None},
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(results))
    (folder / "config.json").write_text(json.dumps({"recipe": "default", "seed": 1, "hold_out": None}))
    (folder / "history.json").write_text(json.dumps({"loss": [0.5, 0.25], "seconds": [1.0, 1.5]}))
    (folder / "curves.webp").write_bytes(b"picture")
    for name in ("denoiser", "classifier"):
        (folder / f"{name}.onnx").write_bytes(name.encode())
    return folder


def published(tmp_path, number):
    """Version folders, as `job.publish` leaves them."""
    versions = {name: tmp_path / "models" / name / str(number) for name in ("denoiser", "classifier")}
    for folder in versions.values():
        folder.mkdir(parents=True)
        (folder / "model_card.json").write_text("{}")
    return versions


def files(client, run_id, path=""):
    found = []
    for each in client.list_artifacts(run_id, path):
        found += files(client, run_id, each.path) if each.is_dir else [each.path]
    return sorted(found)


def champion(client):
    return client.get_model_version_by_alias(MODEL, CHAMPION)


def test_settings_curves_results_and_the_pair_are_kept(uri, client, workdir, tmp_path):
    run = client.get_run(Tracker.open(uri).record(workdir, published(tmp_path, 4)))

    assert run.info.run_name == "default-7"
    assert run.info.status == "FINISHED"
    assert run.data.params == {"recipe": "default", "seed": "1"}
    assert run.data.tags["command"] == "python -m training --epochs 2"
    assert run.data.tags["gate"] == "passed"
    assert run.data.metrics["measured/chain/gaussian/0.5"] == 0.95
    curve = client.get_metric_history(run.info.run_id, "curve/loss")
    assert sorted((each.step, each.value) for each in curve) == [(1, 0.5), (2, 0.25)]
    assert files(client, run.info.run_id) == [
        "config.json", "curves.webp", "history.json", "models/classifier/4/model_card.json",
        "models/denoiser/4/model_card.json", "results.json",
    ]  # fmt: skip
    assert client.get_experiment_by_name(EXPERIMENT).experiment_id == run.info.experiment_id
    assert champion(client).run_id == run.info.run_id
    assert champion(client).tags == {"denoiser": "4", "classifier": "4"}


def test_aliases_follow_the_gate(uri, client, workdir, tmp_path):
    """A published pair is the champion; one that was refused, or was not shown to the gate, only a challenger."""
    tracker = Tracker.open(uri)
    first = tracker.record(workdir, published(tmp_path, 5))
    refused = tracker.record(workdir, refusal="the new pair reads worse at clean")

    assert champion(client).run_id == first
    assert client.get_model_version_by_alias(MODEL, CHALLENGER).run_id == refused
    assert client.get_run(refused).data.tags["gate"] == "the new pair reads worse at clean"
    assert [file for file in files(client, refused) if file.startswith("models/")] == [
        "models/classifier.onnx", "models/denoiser.onnx",
    ]  # fmt: skip

    unasked = tracker.record(workdir)

    assert champion(client).run_id == first
    assert client.get_model_version_by_alias(MODEL, CHALLENGER).run_id == unasked

    second = tracker.record(workdir, published(tmp_path, 6))

    assert champion(client).run_id == second


def test_a_run_without_models_is_kept_and_registers_nothing(uri, client, workdir):
    for path in workdir.glob("*.onnx"):
        path.unlink()
    versions = len(client.search_model_versions(f"name='{MODEL}'"))

    run = Tracker.open(uri).record(workdir)

    assert client.get_run(run).data.metrics["measured/clean"] == 0.99
    assert len(client.search_model_versions(f"name='{MODEL}'")) == versions


@pytest.fixture(scope="module")
def data():
    return split(synthetic_mnist(train=96, test=64), validation=32, seed=0)


@pytest.mark.parametrize("passes", [True, False], ids=["published", "refused"])
def test_the_command_line_keeps_its_run_however_the_gate_decides(
    uri, client, data, workdir, tmp_path, monkeypatch, capsys, passes
):
    """The job itself is `test_job.py`'s: here it is one that has been done."""

    def publish(config, data, outcome, measured, models, **options):
        if not passes:
            raise GateError("the new pair reads worse at clean")
        return {name: int(folder.name) for name, folder in published(tmp_path, 8).items()}

    monkeypatch.setattr(command, "load_mnist", lambda path: synthetic_mnist(train=96, test=64))
    monkeypatch.setattr(command, "mnist_path", lambda path: path)
    monkeypatch.setattr(runs, "train", lambda *arguments: tiny_outcome())
    monkeypatch.setattr(job, "report", lambda *arguments: Measured())
    monkeypatch.setattr(job, "publish", publish)
    arguments = ["--run-dir", str(workdir), "--models", str(tmp_path / "models"), "--validation", "32", "--mlflow", uri]

    assert command.main(arguments) == (0 if passes else 3)
    said = capsys.readouterr()
    newest = max(client.search_model_versions(f"name='{MODEL}'"), key=lambda version: int(version.version))
    assert client.get_run(newest.run_id).data.tags["gate"] == ("passed" if passes else said.err.strip()[7:])
    assert (newest.version == champion(client).version) is passes


class Measured:
    """Of a run that was measured, as far as the command line looks."""

    def __init__(self) -> None:
        self.headline = {"clean": 0.99}


def test_a_place_that_cannot_be_opened_is_said_before_the_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "load_mnist", lambda path: synthetic_mnist(train=96, test=64))
    monkeypatch.setattr(command, "mnist_path", lambda path: path)
    (tmp_path / "file").write_text("no folder")

    assert command.main(["--validation", "32", "--mlflow", f"sqlite:///{tmp_path}/file/mlflow.db"]) == 1
    assert "no runs can be kept at sqlite:///" in capsys.readouterr().err
    with pytest.raises(TrackingError, match="no runs can be kept at file:"):
        Tracker.open(f"file:{tmp_path}")


def test_without_mlflow_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)

    with pytest.raises(TrackingError, match=r"requirements/tracking\.txt"):
        Tracker.open("sqlite:///mlflow.db")


def test_numbers_are_named_by_their_path():
    document = {"a": 1, "b": {"c": 0.5, "d": [1, 2], "e": None, "f": True, "g": "text"}}

    assert dict(numbers(document)) == {"a": 1.0, "b/c": 0.5}
