"""The dashboard and the alerts, on live data: a real Prometheus watches the real stack under load."""

import math
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import grpc
import numpy as np
import pytest
import requests

from deploy.stack.chain import wait_until
from services.core.images import encode_png
from services.serving_client import ServingClient
from tests.support import monitoring
from tests.support.labelled import labelled_server, shadowed_by
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.stack import MODELS, ROOT, SHIPPED, Stack, running_stack

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="apt install prometheus")

WITHIN_S = 30.0
LINE = (ROOT / "docs/samples/number-1112-touching.png").read_bytes()


def miss_a_deadline(stack: Stack) -> None:
    """Keep the denoiser's threads busy, and ask it for what cannot begin in its time: its own metrics count that."""
    (port,) = (flag.removeprefix("--port=") for flag in stack.denoiser.arguments if flag.startswith("--port="))
    images = np.zeros((3000, 28, 28, 1), np.float32)
    with ServingClient(f"127.0.0.1:{port}") as client, ThreadPoolExecutor(8) as pool:
        busy = [pool.submit(client.predict, "denoiser", {"images": images}, timeout_s=30) for _ in range(8)]
        while not all(call.done() for call in busy):
            with suppress(grpc.RpcError):
                client.predict("denoiser", {"images": images[:1]}, timeout_s=0.05)


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """The stack under load, split and with a shadow, and with a version of the denoiser that cannot be loaded."""
    models = tmp_path_factory.mktemp("stack") / "models"
    shutil.copytree(MODELS, models)
    labels = {"stable": SHIPPED, "beta": SHIPPED}
    with (
        labelled_server(tmp_path_factory.mktemp("shadow")) as shadow,
        running_stack(models, {**shadowed_by(shadow), "SPLIT": "stable:50,beta:50"}, labels=labels) as stack,
        load(stack),
    ):
        miss_a_deadline(stack)
        broken = models / "denoiser" / "99"
        broken.mkdir()
        (broken / "saved_model.pb").write_bytes(b"not a model")
        yield stack


@pytest.fixture(scope="module")
def prometheus(stack, tmp_path_factory):
    with running_prometheus(stack.metrics, tmp_path_factory.mktemp("prometheus")) as prometheus:
        prometheus.wait("sum(up) == 3", WITHIN_S)
        yield prometheus


class load:
    """Steady traffic in the background: pictures that are read, and now and then one whose time is too short."""

    def __init__(self, stack: Stack) -> None:
        self._url = f"{stack.url}/v1/recognize"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> "load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        rng = np.random.default_rng(7)
        pictures = [encode_png(rng.random((28, 28, 1), np.float32)) for _ in range(7)]
        pictures.append((ROOT / "docs/samples/noisy-7.png").read_bytes())  # the only one that is accepted
        with requests.Session() as session:
            session.headers["Content-Type"] = "image/png"
            while not self._over.wait(0.05):
                for picture in pictures:
                    session.post(self._url, data=picture, timeout=5)
                session.post(self._url.replace("recognize", "read"), data=LINE, timeout=5)
                session.post(self._url, data=pictures[0], headers={"Request-Timeout-Ms": "1"}, timeout=5)


def answers(prometheus: Prometheus, promql: str) -> bool:
    """Whether an expression has samples, all of them numbers."""
    samples = prometheus.query(promql)
    return bool(samples) and all(math.isfinite(float(sample["value"][1])) for sample in samples)


def unanswered(prometheus: Prometheus, expressions: list[monitoring.Expression]) -> list[monitoring.Expression]:
    """The expressions that stay without data for as long as a test may wait."""
    left = expressions

    def none_is_left() -> bool:
        nonlocal left
        left = [expression for expression in left if not answers(prometheus, expression.promql)]
        return not left

    wait_until(none_is_left, timeout_s=WITHIN_S, every_s=0.5)
    return left


def test_every_target_is_up(prometheus):
    jobs = ("cleardigits-gateway", "cleardigits-denoiser", "cleardigits-classifier")

    assert prometheus.targets() == dict.fromkeys(jobs, "up")


def test_every_panel_shows_data_under_load(prometheus):
    assert unanswered(prometheus, list(monitoring.panel_expressions("5s"))) == []


def test_every_recording_rule_records(prometheus):
    records = [monitoring.Expression(rule["record"], rule["record"]) for rule in monitoring.rules("record")]

    assert unanswered(prometheus, records) == []


def test_every_series_an_alert_reads_exists(prometheus):
    """An alert on a series that is not exported never fires, and no test of rules notices."""
    read = [
        monitoring.Expression(alert["alert"], selector)
        for alert in monitoring.rules("alert")
        for selector in monitoring.selectors(alert["expr"])
    ]

    assert unanswered(prometheus, read) == []


def test_a_version_that_does_not_load_fires_its_alert(prometheus):
    (alert,) = prometheus.wait('ALERTS{alertname="ClearDigitsModelLoadFailed", alertstate="firing"}', WITHIN_S)

    assert alert["metric"]["model_path"].endswith("/denoiser/99")


def test_a_healthy_stack_raises_none_of_the_alerts_about_its_parts(prometheus):
    """Latency depends on the machine that runs the test; what is up, and which version answers, does not."""
    about_parts = "Down|InstanceDown|ModelUnavailable|ModelPartlyUnavailable|VersionSkew|ModelServerErrors"

    assert prometheus.query(f'ALERTS{{alertname=~"ClearDigits({about_parts})"}}') == []


def test_a_model_that_is_gone_is_on_its_way_to_a_page(stack, prometheus):
    """Last, because it takes the classifier away: the gateway's own word, and the missing target, both raise alerts."""
    stack.classifier.kill()
    try:
        prometheus.wait('ALERTS{alertname="ClearDigitsModelUnavailable", model="classifier"}', WITHIN_S)
        prometheus.wait('ALERTS{alertname="ClearDigitsInstanceDown", job="cleardigits-classifier"}', WITHIN_S)
    finally:
        stack.classifier.start()
        stack.wait_ready()
