"""TensorFlow on saved_model.pb, in a session as TensorFlow Serving has it: exports of TensorFlow 1 and 2 alike."""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import config_pb2

from services.core.errors import InvalidInputError
from services.model_server.engines import saved_model
from services.model_server.engines.base import ComputeError, LoadError
from services.model_server.statuses import Code, StatusError
from services.pb import tfserving_pb2 as pb

_MAX_CALLABLES = 64  # one for each choice of outputs that a client has asked for
_PYTHON_STACK = "\n\nOriginal stack trace for "

_Run = Callable[..., list[np.ndarray]]


class TensorFlowEngine:
    """Every signature of one graph of a SavedModel."""

    name = "tensorflow"

    def __init__(
        self, folder: Path, *, threads: int = 1, inter_op_threads: int = 0, tags: frozenset[str] = saved_model.SERVE
    ) -> None:
        self.definitions: Mapping[str, pb.SignatureDef] = saved_model.read_definitions(folder, tags) or {}
        graph = tf.Graph()
        self._session = tf.compat.v1.Session(
            graph=graph,
            config=config_pb2.ConfigProto(
                intra_op_parallelism_threads=threads,
                inter_op_parallelism_threads=inter_op_threads,
                use_per_session_threads=True,
            ),
        )
        try:
            with graph.as_default():
                tf.compat.v1.saved_model.load(self._session, sorted(tags), str(folder))
        except (OSError, ValueError, RuntimeError) as exc:
            raise LoadError(f"{folder}: {exc}") from exc
        except tf.errors.OpError as exc:
            raise LoadError(f"{folder}: {_words(exc)}") from exc
        self.signature_keys = frozenset(key for key, d in self.definitions.items() if _gives_tensors(d))
        self._callables: dict[tuple[str, ...], _Run] = {}
        self._lock = threading.Lock()

    def run(self, key: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Run the graph from the signature's inputs to the named outputs; what fits is for the graph to say."""
        definition = self.definitions[key]
        feeds = [definition.inputs[alias].name for alias in inputs]
        fetches = [definition.outputs[alias].name for alias in outputs]
        try:
            return [np.asarray(array) for array in self._callable(feeds, fetches)(*inputs.values())]
        except tf.errors.ResourceExhaustedError as exc:
            raise StatusError(Code.RESOURCE_EXHAUSTED, _words(exc)) from exc
        except (tf.errors.InvalidArgumentError, tf.errors.OutOfRangeError) as exc:
            raise InvalidInputError(_words(exc)) from exc
        except UnicodeDecodeError as exc:  # its complaint quotes the input, which need not be text
            raise InvalidInputError("the model could not read its input") from exc
        except tf.errors.OpError as exc:
            raise ComputeError(_words(exc)) from exc

    def _callable(self, feeds: list[str], fetches: list[str]) -> _Run:
        """Session.run checks every shape against the graph's placeholders, which TensorFlow Serving does not."""
        key = (*feeds, "", *fetches)
        with self._lock:
            made = self._callables.get(key)
            if made is None:
                if len(self._callables) >= _MAX_CALLABLES:
                    self._callables.clear()
                options = config_pb2.CallableOptions(feed=feeds, fetch=fetches)
                made = self._callables[key] = self._session._make_callable_from_options(options)
        return made


def _gives_tensors(definition: pb.SignatureDef) -> bool:
    """False for __saved_model_init_op, whose output is an operation."""
    return bool(definition.outputs) and all(":" in info.name for info in definition.outputs.values())


def _words(error: Any) -> str:
    """What the operation said, without where Python made it."""
    message: str = error.message
    return message.split(_PYTHON_STACK, 1)[0].split("\nDetected at node ", 1)[0].strip()
