"""TensorFlow on saved_model.pb: the engine of last resort, for a version no light engine can read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from services.core.errors import InvalidInputError
from services.model_server.engines import saved_model
from services.model_server.engines.base import ComputeError, LoadError


class TensorFlowEngine:
    """Every signature of a SavedModel."""

    name = "tensorflow"

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        try:
            self._model = tf.saved_model.load(str(folder), tags=[saved_model.SERVE_TAG])
        except (OSError, ValueError, RuntimeError, tf.errors.OpError) as exc:
            raise LoadError(f"{folder}: {exc}") from exc
        self.definitions = saved_model.read_definitions(folder) or {}
        self._functions = dict(self._model.signatures)
        self.signature_keys = frozenset(self._functions)

    def run(self, key: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Call the signature's function; only the named outputs are copied out."""
        tensors = {
            alias: tf.constant(array.tolist(), tf.string, array.shape)
            if array.dtype.kind == "O"
            else tf.constant(array)
            for alias, array in inputs.items()
        }
        try:
            results = self._functions[key](**tensors)
        except tf.errors.InvalidArgumentError as exc:
            raise InvalidInputError(exc.message) from exc
        except UnicodeDecodeError as exc:  # its complaint quotes the input, which need not be text
            raise InvalidInputError("the model could not read its input") from exc
        except tf.errors.OpError as exc:
            raise ComputeError(exc.message) from exc
        return [results[alias].numpy() for alias in outputs]
