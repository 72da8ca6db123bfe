"""LiteRT on model.tflite, for --prefer_tflite_model."""

import queue
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from services.core.tensors import dtype_number
from services.model_server.engines.base import ComputeError, LoadError
from services.model_server.engines.saved_model import read_definitions
from services.model_server.signatures import DEFAULT_KEY, PREDICT_METHOD
from services.pb import tfserving_pb2 as pb

FILE_NAME = "model.tflite"
_POOL_SIZE = 2  # an interpreter serves one call at a time


class LiteRTEngine:
    """A few interpreters of one model, each used by one thread at a time."""

    name = "litert"

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        path = folder / FILE_NAME
        try:
            content = path.read_bytes()
            interpreters = [Interpreter(model_content=content, num_threads=threads) for _ in range(_POOL_SIZE)]
        except (OSError, ValueError, RuntimeError) as exc:
            raise LoadError(f"{path}: {exc}") from exc
        self._idle: queue.SimpleQueue[Interpreter] = queue.SimpleQueue()
        for interpreter in interpreters:
            self._idle.put(interpreter)
        self._inputs, self._outputs = _aliases(interpreters[0], path)
        self.definitions = read_definitions(folder) or {
            DEFAULT_KEY: pb.SignatureDef(
                inputs={alias: _tensor_info(detail) for alias, detail in self._inputs.items()},
                outputs={alias: _tensor_info(detail) for alias, detail in self._outputs.items()},
                method_name=PREDICT_METHOD,
            )
        }
        self.signature_keys = frozenset({DEFAULT_KEY} & set(self.definitions))

    def run(self, key: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Compute in whichever interpreter is free, once one is."""
        interpreter = self._idle.get()
        try:
            for alias, array in inputs.items():
                detail = self._inputs[alias]
                if tuple(interpreter.get_input_details()[detail["position"]]["shape"]) != array.shape:
                    interpreter.resize_tensor_input(detail["index"], array.shape)
            interpreter.allocate_tensors()
            for alias, array in inputs.items():
                interpreter.set_tensor(self._inputs[alias]["index"], array)
            interpreter.invoke()
            return [interpreter.get_tensor(self._outputs[alias]["index"]) for alias in outputs]
        except (ValueError, RuntimeError) as exc:
            raise ComputeError(str(exc)) from exc
        finally:
            self._idle.put(interpreter)


def _aliases(interpreter: Interpreter, path: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """Signature alias -> tensor details, for inputs and outputs."""
    signatures = interpreter.get_signature_list()
    if DEFAULT_KEY not in signatures:
        raise LoadError(f"{path} has no signature {DEFAULT_KEY}")
    runner = interpreter.get_signature_runner(DEFAULT_KEY)
    order = [detail["index"] for detail in interpreter.get_input_details()]
    inputs = {
        alias: {**detail, "position": order.index(detail["index"])}
        for alias, detail in runner.get_input_details().items()
    }
    return inputs, dict(runner.get_output_details())


def _tensor_info(detail: dict) -> pb.TensorInfo:
    info = pb.TensorInfo(name=detail["name"], dtype=dtype_number(np.dtype(detail["dtype"])))
    for size in detail["shape_signature"]:
        info.tensor_shape.dim.add(size=int(size))
    return info
