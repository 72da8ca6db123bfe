"""Runs in MLflow, where asked for: settings, curves, results and the exported pair, read from the run folder.

Each pair becomes a version of the registered model `cleardigits`; two aliases follow the release gate. `champion` is
the pair that was published last, `challenger` the last one that was not: refused by the gate, or not shown to it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from training.errors import TrackingError

if TYPE_CHECKING:  # optional: requirements/tracking.txt
    from mlflow import MlflowClient

MODEL = EXPERIMENT = "cleardigits"
CHAMPION, CHALLENGER = "champion", "challenger"
SQLITE = "sqlite:///"
_BATCH = 1000  # metrics of one call, MLflow's limit


class Tracker:
    """A place for runs: a SQLite file (`sqlite:///runs/mlflow.db`) or an MLflow server (`http://...`)."""

    def __init__(self, client: MlflowClient, experiment: str) -> None:
        self._client = client
        self._experiment = experiment

    @classmethod
    def open(cls, uri: str) -> Self:
        """Before a long run, so that it does not end without a place; TrackingError says what is wrong."""
        os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"  # MLflow sends usage data otherwise
        try:
            from mlflow import MlflowClient
            from mlflow.exceptions import MlflowException
        except ImportError as exc:
            command = f"{sys.executable} -m pip install --require-hashes -r requirements/tracking.txt"
            raise TrackingError(f"--mlflow needs packages of its own ({exc}): {command}") from exc
        for chatty in ("mlflow", "alembic"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        files = None
        try:
            if uri.startswith(SQLITE):
                folder = Path(uri.removeprefix(SQLITE)).absolute().parent
                folder.mkdir(parents=True, exist_ok=True)
                files = (folder / "mlflow-artifacts").as_uri()
            client = MlflowClient(tracking_uri=uri, registry_uri=uri)
            known = client.get_experiment_by_name(EXPERIMENT)
            experiment = known.experiment_id if known else client.create_experiment(EXPERIMENT, files)
        except (MlflowException, OSError) as exc:
            raise TrackingError(f"no runs can be kept at {uri}: {exc}") from exc
        return cls(client, experiment)

    def record(self, workdir: Path, published: Mapping[str, Path] | None = None, refusal: str = "") -> str:
        """Keep what is in a run folder; answers the run's id.

        `published` names the version folders that the gate let through; without them the ONNX files of the run are the
        pair. `refusal` is what the gate said.
        """
        from mlflow.entities import Metric, Param, RunTag
        from mlflow.exceptions import MlflowException

        results = json.loads((workdir / "results.json").read_text())
        settings = json.loads((workdir / "config.json").read_text())
        history = json.loads((workdir / "history.json").read_text())
        now_ms = int(1000 * (workdir / "results.json").stat().st_mtime)
        metrics = [
            Metric(f"curve/{name}", value, now_ms, epoch)
            for name, values in history.items()
            for epoch, value in enumerate(values, start=1)
        ]
        metrics += [Metric(name, value, now_ms, 0) for name, value in numbers(results)]
        params = [Param(name, str(value)) for name, value in settings.items() if value is not None]
        tags = {"command": results["command"], "gate": refusal or ("passed" if published else "not asked")}
        try:
            run = self._client.create_run(self._experiment, run_name=workdir.name).info
            for start in range(0, len(metrics), _BATCH):
                self._client.log_batch(run.run_id, metrics=metrics[start : start + _BATCH])
            self._client.log_batch(run.run_id, params=params, tags=[RunTag(*tag) for tag in tags.items()])
            for path in sorted([*workdir.glob("*.json"), *workdir.glob("*.webp")]):
                self._client.log_artifact(run.run_id, str(path))
            if self._log_pair(run.run_id, workdir, published or {}):
                self._register(run.run_id, f"{run.artifact_uri}/models", published or {})
            self._client.set_terminated(run.run_id)
        except (MlflowException, OSError) as exc:
            raise TrackingError(f"the run could not be kept in MLflow: {exc}") from exc
        return str(run.run_id)

    def _log_pair(self, run_id: str, workdir: Path, published: Mapping[str, Path]) -> bool:
        """Whether there was something."""
        for name, folder in published.items():
            self._client.log_artifacts(run_id, str(folder), f"models/{name}/{folder.name}")
        loose = [] if published else sorted(workdir.glob("*.onnx"))
        for path in loose:
            self._client.log_artifact(run_id, str(path), "models")
        return bool(published or loose)

    def _register(self, run_id: str, source: str, published: Mapping[str, Path]) -> None:
        if not self._client.search_registered_models(f"name='{MODEL}'"):
            self._client.create_registered_model(MODEL)
        tags = {name: folder.name for name, folder in published.items()}
        version = self._client.create_model_version(MODEL, source, run_id, tags=tags).version
        self._client.set_registered_model_alias(MODEL, CHAMPION if published else CHALLENGER, version)


def numbers(document: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """Every number in a document of dictionaries, named by its path: `measured/chain/gaussian/0.5`. No lists."""
    if isinstance(document, dict):
        for key, value in document.items():
            yield from numbers(value, f"{name}/{key}" if name else key)
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield name, float(document)
