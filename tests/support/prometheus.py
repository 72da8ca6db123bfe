"""A Prometheus of one's own: Debian's binary with the project's rules, watching services on free ports."""

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import yaml

from tests.support.monitoring import PROMETHEUS
from tests.support.stack import free_port

START_S = 15.0


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Asks a running Prometheus."""

    url: str

    def query(self, promql: str) -> list[Mapping[str, Any]]:
        """The samples of an instant query; none is an empty list."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": promql}, timeout=5).json()
        assert answer["status"] == "success", f"{promql}: {answer.get('error')}"
        return answer["data"]["result"]

    def targets(self) -> dict[str, str]:
        """Health of each target by its job."""
        found = requests.get(f"{self.url}/api/v1/targets", timeout=5).json()["data"]["activeTargets"]
        return {target["labels"]["job"]: f"{target['health']} {target['lastError']}".strip() for target in found}

    def wait(self, promql: str, within_s: float) -> list[Mapping[str, Any]]:
        """Until the query returns something."""
        ends = time.monotonic() + within_s
        while time.monotonic() < ends:
            if result := self.query(promql):
                return result
            time.sleep(0.2)
        raise AssertionError(f"nothing for {promql} within {within_s} s; targets: {self.targets()}")


@contextlib.contextmanager
def running_prometheus(targets: Mapping[str, str], workdir: Path, interval_s: int = 1) -> Iterator[Prometheus]:
    """Prometheus with deploy/prometheus/local.yml, its addresses replaced by `targets` (service -> host:port)."""
    binary = shutil.which("prometheus")
    assert binary, "prometheus is not here: apt install prometheus"
    config = yaml.safe_load((PROMETHEUS / "local.yml").read_text())
    config["global"] = {"scrape_interval": f"{interval_s}s", "evaluation_interval": f"{interval_s}s"}
    config["rule_files"] = [str(PROMETHEUS / pattern) for pattern in config["rule_files"]]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"].removeprefix("cleardigits-")]]}]
    (workdir / "prometheus.yml").write_text(yaml.safe_dump(config))
    address = f"127.0.0.1:{free_port()}"
    flags = {
        "config.file": workdir / "prometheus.yml",
        "storage.tsdb.path": workdir / "data",
        "web.listen-address": address,
    }
    with (workdir / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, *(f"--{name}={value}" for name, value in flags.items())], stdout=log, stderr=subprocess.STDOUT
        )
        try:
            _wait_ready(f"http://{address}", process, workdir / "log")
            yield Prometheus(f"http://{address}")
        finally:
            process.terminate()
            process.wait(10)


def _wait_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and process.poll() is None:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{url}/-/ready", timeout=2).ok:
                return
        time.sleep(0.1)
    raise AssertionError(f"prometheus is not ready:\n{log.read_text(errors='replace')}")
