"""TensorFlow Serving's flags fit what the gateways of a home can send: Compose, Kubernetes, KServe, read together."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
import yaml

from services.gateway.api.offered_models import DIRECT_CALLS
from services.gateway.config import GatewayConfig
from tests.support import kubernetes
from tests.support.stack import ROOT

MODELS = ("denoiser", "classifier")
COMPOSE_WORKERS = (
    4  # CLEARDIGITS_GATEWAY_WORKERS that one host is expected to need; 2,358 of 5,250 calls failed with 8 threads
)
SPLIT = "stable:95,canary:5"  # an operator may begin one at any time
POLLERS = 2  # threads of gRPC's own that take no call, from the same quota


@dataclass(frozen=True)
class Home:
    """A place where model servers run: their flags, and how many gateways there can be at the same time."""

    name: str
    model: str
    flags: dict[str, str]
    gateways: int
    gateway: GatewayConfig

    @property
    def calls(self) -> int:
        """The most calls that can be under way at one server: while it is the only one ready, it gets all of them."""
        # batches, calls of /v2 and /v1/models that pass no batch, and questions of readiness
        batches = 2 * self.gateway.batches_in_flight * len(self.gateway.labels)  # digits, lines
        of_a_worker = batches + DIRECT_CALLS + 2 + 1  # the shadow's
        return self.gateways * self.gateway.workers * of_a_worker


def flags_of(words: list[str]) -> dict[str, str]:
    return dict(word.removeprefix("--").partition("=")[::2] for word in words)


def homes() -> Iterator[Home]:
    """Every manifest that starts a model server."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    for model in MODELS:
        yield Home(
            "compose",
            model,
            flags_of(compose[model]["command"]),
            1,
            GatewayConfig(workers=COMPOSE_WORKERS, split=SPLIT),
        )
    for overlay in kubernetes.OVERLAYS:
        settings = kubernetes.pod(overlay, "gateway").containers[0]["envFrom"][0]["configMapRef"]["name"]
        (data,) = [c["data"] for c in kubernetes.of_kind(overlay, "ConfigMap") if c["metadata"]["name"] == settings]
        for model in MODELS:
            (container,) = kubernetes.pod(overlay, model).containers
            gateways = _most_gateways(overlay) + 1  # and the one of a canary
            yield Home(
                overlay,
                model,
                flags_of(container["args"]),
                gateways,
                replace(GatewayConfig.from_env(data), split=SPLIT),
            )


def _most_gateways(overlay: str) -> int:
    """Pods of the gateway at its largest, in the middle of a roll-out."""
    (deployment,) = [d for d in kubernetes.of_kind(overlay, "Deployment") if d["metadata"]["name"] == "gateway"]
    scaled = [
        scaler["spec"]["maxReplicas"]
        for scaler in kubernetes.of_kind(overlay, "HorizontalPodAutoscaler")
        if scaler["spec"]["scaleTargetRef"]["name"] == "gateway"
    ]
    replicas = scaled[0] if scaled else deployment["spec"]["replicas"]
    return replicas + deployment["spec"]["strategy"]["rollingUpdate"]["maxSurge"]


every_home = pytest.mark.parametrize("home", list(homes()), ids=lambda home: f"{home.name}-{home.model}")


@every_home
def test_a_server_has_a_thread_for_every_call_that_can_arrive(home):
    """Beyond --grpc_max_threads TensorFlow Serving does not queue: it answers RESOURCE_EXHAUSTED."""
    assert int(home.flags["grpc_max_threads"]) >= home.calls + POLLERS


@every_home
def test_a_broken_version_does_not_hold_up_a_roll_back(home):
    """By default it is tried 6 times, a minute apart, in the loop that loads and unloads every other version."""
    retries_s = int(home.flags["max_num_load_retries"]) * int(home.flags["load_retry_interval_micros"]) / 1e6

    assert int(home.flags["num_load_threads"]) >= 1
    assert retries_s <= 10


@every_home
def test_flags_that_harm_are_left_out(home):
    """Tensors as bytes: REST answers 200 with uninitialised memory. Batching: one wrong call fails its batch mates."""
    assert not {"enable_serialization_as_tensor_content", "enable_batching", "batching_parameters_file"} & set(
        home.flags
    )


@every_home
def test_versions_and_labels_come_from_a_file_that_is_polled(home):
    assert home.flags["model_config_file"] == f"/etc/cleardigits/{home.model}.config"
    assert 0 < int(home.flags["model_config_file_poll_wait_seconds"]) <= 10
    assert "allow_version_labels_for_unavailable_models" in home.flags


def test_every_manifest_that_starts_a_model_server_is_read():
    texts = {path: path.read_text() for path in ROOT.glob("deploy/kubernetes/rendered/*.yaml")}
    texts[ROOT / "docker-compose.yml"] = (ROOT / "docker-compose.yml").read_text()
    starting = {path.stem for path, text in texts.items() if re.search(r"--model_config_file=", text)}

    assert starting == {home.name.replace("compose", "docker-compose") for home in homes()}
