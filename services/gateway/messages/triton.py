"""Triton's extensions of the Open Inference Protocol: a model's configuration, its statistics, classification."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from services.core.errors import InvalidInputError

if TYPE_CHECKING:  # decoder processes read messages too, and count nothing
    from services.gateway.metrics import Counted

EXTENSIONS = ("binary_tensor_data", "classification", "model_configuration", "statistics")
GRPC_EXTENSIONS = EXTENSIONS[1:]  # raw contents are gRPC's own
CLASSES = "classification"  # the parameter of an output
_OWN = {"sequence_id", "sequence_start", "sequence_end", "priority", "timeout", "headers", "binary_data_output"}
MOST_CLASS_BYTES = 24  # of one label, its quotes and comma or its length before it


def is_own(parameter: str) -> bool:
    """Whether clients send this parameter for Triton itself: no mistake, and without a meaning here."""
    return parameter in _OWN or parameter.startswith("triton_")


def check_classes(name: str, value: object) -> int:
    """How many classes an output is asked for."""
    if type(value) is not int or not 0 < value < 2**31:
        raise InvalidInputError(f"{CLASSES} of output {name[:60]!r}: {value!r:.40} is not a number of classes")
    return value


def can_classify(output: Mapping[str, Any]) -> bool:
    """Whether an output holds a score for each class."""
    return output["datatype"] == "FP32" and len(output["shape"]) == 2


def classified(scores: np.ndarray, classes: int) -> list[list[bytes]]:
    """The best classes of each row, `score:index`, best first."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :classes]
    picked = np.take_along_axis(scores, best, axis=1)
    return [
        [b"%f:%d" % pair for pair in zip(row, indices, strict=True)]
        for row, indices in zip(picked.tolist(), best.tolist(), strict=True)
    ]


def configuration(name: str, described: Mapping[str, Any], *, max_images: int) -> dict[str, object]:
    """What Triton would say of the model: the batch is a dimension of its own, which `dims` leave out."""
    return {
        "name": name,
        "platform": described["platform"],
        "backend": "",
        "version_policy": {"latest": {"num_versions": 1}},
        "max_batch_size": max_images,
        "input": [_tensor(tensor) for tensor in described["inputs"]],
        "output": [_tensor(tensor) for tensor in described["outputs"]],
    }


def statistics(name: str, version: str, counted: Counted) -> dict[str, object]:
    """Calls of a model under /v2 and gRPC. What happens inside one is not told apart: all of its time is inference.

    Every call has each of the stages, as in Triton: perf_analyzer finds the version it has pressed by `queue`.
    """
    success = _duration(counted.calls, counted.total_s)
    at_once = _duration(counted.calls, 0.0)
    nothing = _duration(0, 0.0)
    return {
        "name": name,
        "version": version,
        "inference_count": counted.images,
        "execution_count": counted.calls,
        "inference_stats": {
            "success": success,
            "fail": _duration(counted.failures, counted.failed_s),
            "queue": at_once,
            "compute_input": at_once,
            "compute_infer": success,
            "compute_output": at_once,
            "cache_hit": nothing,
            "cache_miss": nothing,
        },
        "batch_stats": [],
    }


def _tensor(tensor: Mapping[str, Any]) -> dict[str, object]:
    dims = list(tensor["shape"][1:])
    datatype = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    described: dict[str, object] = {"name": tensor["name"], "data_type": f"TYPE_{datatype}"}
    if dims:
        return {**described, "dims": dims}
    return {**described, "dims": [1], "reshape": {"shape": []}}  # one for each image


def _duration(count: int, total_s: float) -> dict[str, int]:
    return {"count": count, "ns": math.floor(1e9 * total_s)}
