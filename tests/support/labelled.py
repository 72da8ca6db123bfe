"""One model server process that serves the tiny denoiser and classifier in two versions, each behind a label."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support.stack import Child, free_port
from tests.support.tiny_models import write_tiny_models

LABELS = {"stable": 1, "canary": 2}
CONFUSED = (3, 5)  # by the canary


@dataclass(frozen=True)
class Labelled:
    """The process and its address."""

    child: Child
    target: str


@contextmanager
def labelled_server(folder: Path) -> Iterator[Labelled]:
    """Versions 1, `stable`, and 2, `canary`, which takes 3 for 5 and 5 for 3."""
    write_tiny_models(folder / "models")
    write_tiny_models(folder / "models", version=2, confuses=CONFUSED)
    versions = " ".join(f"versions: {version}" for version in LABELS.values())
    labels = " ".join(f'version_labels {{ key: "{label}" value: {version} }}' for label, version in LABELS.items())
    entries = [
        f'config {{ name: "{name}" model_platform: "tensorflow" base_path: "{folder / "models" / name}"'
        f" model_version_policy {{ specific {{ {versions} }} }} {labels} }}"
        for name in ("denoiser", "classifier")
    ]
    config = folder / "models.config"
    config.write_text(f"model_config_list {{ {' '.join(entries)} }}")
    port = free_port()
    flags = {"host": "127.0.0.1", "port": port, "model_config_file": config, "drain_seconds": 1}
    arguments = [f"--{name}={value}" for name, value in flags.items()]
    child = Child("labelled", ["services.model_server", *arguments, "--allow_version_labels_for_unavailable_models"])
    child.start()
    try:
        yield Labelled(child, f"127.0.0.1:{port}")
    finally:
        child.close()


def shadowed_by(server: Labelled) -> dict[str, str]:
    """Settings of a gateway whose every answer is compared with this server's canary."""
    return {
        "SHADOW_SHARE": "1",
        "SHADOW_LABEL": "canary",
        "SHADOW_DENOISER_TARGET": server.target,
        "SHADOW_CLASSIFIER_TARGET": server.target,
    }
