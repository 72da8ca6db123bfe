"""The seam between serving and computing."""

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from services.core.errors import ModelResponseError
from services.pb import tfserving_pb2 as pb


class LoadError(Exception):
    """A version folder that this server cannot serve, and why."""


class ComputeError(ModelResponseError):
    """The model was given a valid request and failed on it."""


class Engine(Protocol):
    """A loaded model version. `run` may be called from several threads at once."""

    @property
    def name(self) -> str:
        """The engine's kind, for the log."""
        ...

    @property
    def definitions(self) -> Mapping[str, pb.SignatureDef]:
        """What GetModelMetadata reports."""
        ...

    @property
    def signature_keys(self) -> frozenset[str]:
        """Those of them that `run` can compute."""
        ...

    def run(self, key: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Compute the named outputs of signature `key`; InvalidInputError where shapes or values do not fit."""
        ...
