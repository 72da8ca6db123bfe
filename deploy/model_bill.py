"""A bill of materials for the pair of models, in CycloneDX 1.6 (ML-BOM): every file with its SHA-256, and its card.

make sbom                       (writes build/sbom/models.cdx.json beside those of the images)

What a reader can check: the files against `sha256sum`, its training data against their digests, the measured
results against docs/results.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.core.model_digest import CARD, SIGNATURE_FILE, file_digests, pair, version_digest

Json = dict[str, Any]

NAME = "cleardigits/models"
TASKS = {"denoiser": "image denoising", "classifier": "image classification"}
NO_METRIC = {"noise_seed", "gaussian_draws", "images", "confusion"}  # how it was measured, and what is no single number


def pair_bill(models: Path, *, version: str) -> Json:
    """The newest version of both models, as they are shipped; `version` is that of the project."""
    shipped = pair(models)
    components = [
        _model(models / "denoiser" / str(shipped.denoiser)),
        _model(models / "classifier" / str(shipped.classifier)),
    ]
    references = [component["bom-ref"] for component in components]
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": NAME, "name": NAME, "version": version},
            "lifecycles": [{"phase": "build"}],
            "properties": [_property("pair", str(shipped))],
        },
        "components": components,
        "dependencies": [{"ref": NAME, "dependsOn": references}, *({"ref": reference} for reference in references)],
    }


def _model(folder: Path) -> Json:
    """One version: its files, and its model card in CycloneDX's words."""
    card = json.loads((folder / CARD).read_text())
    reference = f"{card['name']}@{card['version']}"
    besides = [folder / name for name in (CARD, SIGNATURE_FILE) if (folder / name).exists()]
    digests = file_digests(folder) | {each.name: hashlib.sha256(each.read_bytes()).hexdigest() for each in besides}
    return {
        "type": "machine-learning-model",
        "bom-ref": reference,
        "name": card["name"],
        "version": str(card["version"]),
        "licenses": [{"license": {"id": card["license"]}}],
        "properties": [_property("version-digest", version_digest(folder))],
        "components": [
            {
                "type": "file",
                "bom-ref": f"{reference}/{name}",
                "name": name,
                "hashes": [{"alg": "SHA-256", "content": digest}],
            }
            for name, digest in digests.items()
        ],
        "modelCard": _card(card),
    }


def _card(card: Json) -> Json:
    training, signature = card["training"], card["signature"]
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": TASKS[card["name"]],
            "architectureFamily": "convolutional neural network",
            "datasets": [
                {"type": "dataset", "name": name, "contents": {"properties": [_property("sha256", digest)]}}
                for name, digest in _datasets(training)
            ],
            "inputs": [{"format": _tensor(name, tensor)} for name, tensor in signature["inputs"].items()],
            "outputs": [{"format": _tensor(name, tensor)} for name, tensor in signature["outputs"].items()],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_metrics(card["results"]))},
        "properties": [
            *(
                _property(name, json.dumps(training[name]))
                for name in ("command", "seed", "epochs")
                if name in training
            ),
            _property("created", card["created"]),
            _property("parameters", str(card["parameters"])),
            *(_property(f"library:{name}", version) for name, version in card["libraries"].items()),
        ],
    }


def _datasets(training: Json) -> Iterator[tuple[str, str]]:
    for array, digest in training["data_sha256"].items():
        yield f"{training['data']} {array}", digest
    if extra := training.get("extra"):
        yield f"corrections: {extra['digits']} digits, {extra['no_digit']} without one", extra["sha256"]


def _metrics(results: Json) -> Iterator[Json]:
    """Every number of the card: `chain.gaussian.0.5` is a metric `chain` on the slice `gaussian 0.5`."""
    for kind, value in results.items():
        if kind not in NO_METRIC:
            for path, number in _numbers(value, ()):
                yield {"type": kind, "value": str(number)} | ({"slice": " ".join(path)} if path else {})


def _numbers(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], float | int]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _numbers(inner, (*path, name))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _tensor(name: str, tensor: list[Any]) -> str:
    kind, shape = tensor
    return f"{name}: {kind} ({', '.join(map(str, shape))})"


def _property(name: str, value: str) -> Json:
    return {"name": f"cleardigits:{name}", "value": value}
