"""Canary and roll-back, step by step as docs/OPERATIONS.md has them, on live processes; every answer is a 200."""

import contextlib
import shutil

import pytest
import requests

from deploy.stack.chain import wait_until
from tests.support.stack import MODELS, ROOT, SHIPPED, Child, free_port, running_stack

WITHIN_S = 20.0
NEXT = SHIPPED + 1
PICTURE = (ROOT / "docs/samples/noisy-7.png").read_bytes()


def serving_config(folder, *, versions: tuple[int, ...], **labels: int) -> None:
    """What step after step of the runbook leaves in deploy/serving/denoiser.config."""
    lines = [
        'model_config_list { config { name: "denoiser" model_platform: "tensorflow"',
        f'base_path: "{folder / "models/denoiser"}"',
        "model_version_policy { specific {" + " ".join(f" versions: {version}" for version in versions) + " } }",
        *(f'version_labels {{ key: "{label}" value: {version} }}' for label, version in labels.items()),
        "} }",
    ]
    (folder / "new.config").write_text("\n".join(lines))
    (folder / "new.config").rename(folder / "denoiser.config")


def denoiser_version(gateway_url: str) -> int:
    answer = requests.post(
        f"{gateway_url}/v1/recognize", data=PICTURE, headers={"Content-Type": "image/png"}, timeout=5
    )
    assert answer.status_code == 200, answer.text
    return answer.json()["models"]["denoiser"]["version"]


def wait_until_answering(gateway_url: str) -> None:
    """A label is refused until its version is loaded, and the gateway may still be starting."""

    def answers() -> bool:
        with contextlib.suppress(requests.ConnectionError, AssertionError):
            return denoiser_version(gateway_url) > 0
        return False

    assert wait_until(answers, timeout_s=WITHIN_S, every_s=0.1), f"{gateway_url} never answered"


def wait_for_version(gateway_url: str, wanted: int) -> None:
    assert wait_until(lambda: denoiser_version(gateway_url) == wanted, timeout_s=WITHIN_S, every_s=0.1), wanted


@pytest.fixture
def labelled(tmp_path):
    """A denoiser that serves by label, one gateway that asks for `stable`, one for `canary`: (folder, url, url)."""
    shutil.copytree(MODELS, tmp_path / "models")
    serving_config(tmp_path, versions=(SHIPPED,), stable=SHIPPED)
    grpc_port, canary_port = free_port(), free_port()
    flags = {
        "host": "127.0.0.1",
        "port": grpc_port,
        "model_config_file": tmp_path / "denoiser.config",
        "model_config_file_poll_wait_seconds": 1,
    }
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    server = Child("labelled", ["services.model_server", *arguments, "--allow_version_labels_for_unavailable_models"])
    server.start()
    try:
        settings = {"DENOISER_TARGET": f"127.0.0.1:{grpc_port}", "DENOISER_LABEL": "stable"}
        with running_stack(gateway=settings) as stack:
            own = {
                "CLEARDIGITS_GATEWAY_PORT": str(canary_port),
                "CLEARDIGITS_GATEWAY_DENOISER_LABEL": "canary",
            }
            canary = Child("canary", ["services.gateway"], {**stack.gateway.environment, **own})
            canary.start()
            try:
                yield tmp_path, stack.url, f"http://127.0.0.1:{canary_port}"
            finally:
                canary.close()
    finally:
        server.close()


def test_a_canary_is_read_promoted_and_taken_back_without_a_lost_request(labelled):
    folder, stable, canary = labelled
    shutil.copytree(folder / f"models/denoiser/{SHIPPED}", folder / "models/denoiser/.new")
    (folder / "models/denoiser/.new").rename(folder / f"models/denoiser/{NEXT}")

    serving_config(folder, versions=(SHIPPED, NEXT), stable=SHIPPED, canary=NEXT)
    wait_until_answering(canary)
    assert denoiser_version(canary) == NEXT
    assert denoiser_version(stable) == SHIPPED, "users still get the stable version"

    serving_config(folder, versions=(SHIPPED, NEXT), stable=NEXT, canary=NEXT)  # both stay loaded: that is the way back
    wait_for_version(stable, NEXT)

    serving_config(folder, versions=(SHIPPED, NEXT), stable=SHIPPED, canary=NEXT)
    wait_for_version(stable, SHIPPED)


def test_moving_a_folder_away_rolls_back_without_a_lost_request(tmp_path):
    """What the runbook says for compose and local processes, which serve the newest folder."""
    shutil.copytree(MODELS, tmp_path / "models")
    home = tmp_path / "models/denoiser"
    with running_stack(models=tmp_path / "models") as stack:
        shutil.copytree(home / str(SHIPPED), home / ".new")
        (home / ".new").rename(home / str(NEXT))
        wait_for_version(stack.url, NEXT)

        (home / str(NEXT)).rename(home / f".withdrawn-{NEXT}")
        wait_for_version(stack.url, SHIPPED)
