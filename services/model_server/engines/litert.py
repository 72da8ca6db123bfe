"""LiteRT on model.tflite, for --prefer_tflite_model."""

import queue
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from services.core.errors import InvalidInputError
from services.core.tensors import dtype_number
from services.model_server.engines import saved_model
from services.model_server.engines.base import LoadError
from services.model_server.signatures import DEFAULT_KEY, PREDICT_METHOD
from services.pb import tfserving_pb2 as pb

FILE_NAME = "model.tflite"

Details = Mapping[str, Any]  # what LiteRT says of one tensor


@dataclass(frozen=True, slots=True)
class _Aliases:
    """A signature's names for the tensors of the graph."""

    inputs: Mapping[str, Details]
    outputs: Mapping[str, Details]


class LiteRTEngine:
    """A few interpreters of one model, each used by one thread at a time."""

    name = "litert"

    def __init__(
        self, folder: Path, *, threads: int = 1, tags: frozenset[str] = saved_model.SERVE, interpreters: int = 2
    ) -> None:
        path = folder / FILE_NAME
        try:
            content = path.read_bytes()
            pool = [Interpreter(model_content=content, num_threads=threads) for _ in range(interpreters)]
        except (OSError, ValueError, RuntimeError) as exc:
            raise LoadError(f"{path}: {exc}") from exc
        self._idle: queue.SimpleQueue[Interpreter] = queue.SimpleQueue()
        for interpreter in pool:
            self._idle.put(interpreter)
        self._signatures = _signatures(pool[0])
        beside = saved_model.read_definitions(folder, tags) or {}
        self.definitions: Mapping[str, pb.SignatureDef] = {
            key: beside[key] if key in beside and _same_names(beside[key], aliases) else _definition(aliases)
            for key, aliases in self._signatures.items()
        }
        self.signature_keys = frozenset(self.definitions)

    def run(self, key: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Compute in an interpreter that is free, once one is."""
        aliases = self._signatures[key]
        interpreter = self._idle.get()
        try:
            sizes = {detail["index"]: tuple(detail["shape"]) for detail in interpreter.get_input_details()}
            for alias, array in inputs.items():
                index = aliases.inputs[alias]["index"]
                if sizes[index] != array.shape:
                    interpreter.resize_tensor_input(index, array.shape)
            interpreter.allocate_tensors()
            for alias, array in inputs.items():
                interpreter.set_tensor(aliases.inputs[alias]["index"], array)
            interpreter.invoke()
            return [interpreter.get_tensor(aliases.outputs[alias]["index"]) for alias in outputs]
        except (ValueError, RuntimeError) as exc:  # what it cannot compute is a shape or a value that does not fit
            raise InvalidInputError(str(exc)) from exc
        finally:
            self._idle.put(interpreter)


def _signatures(interpreter: Interpreter) -> dict[str, _Aliases]:
    """The model's own signatures; where it has none, one with the names of its tensors."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    found = interpreter.get_signature_list()
    if not found:
        return {DEFAULT_KEY: _Aliases({_plain(d): d for d in inputs}, {_plain(d): d for d in outputs})}
    signatures = {}
    for key in found:
        runner = interpreter.get_signature_runner(key)
        by_alias = _Aliases(runner.get_input_details(), runner.get_output_details())
        if {detail["index"] for detail in by_alias.inputs.values()} == {detail["index"] for detail in inputs}:
            signatures[key] = by_alias  # the others are of another subgraph, which invoke() does not run
    return signatures


def _plain(detail: Details) -> str:
    """`x` of `x:0`, as TensorFlow Serving names it."""
    return str(detail["name"]).partition(":")[0]


def _same_names(definition: pb.SignatureDef, aliases: _Aliases) -> bool:
    return set(definition.inputs) == set(aliases.inputs) and set(definition.outputs) == set(aliases.outputs)


def _definition(aliases: _Aliases) -> pb.SignatureDef:
    return pb.SignatureDef(
        inputs={alias: _tensor_info(detail) for alias, detail in aliases.inputs.items()},
        outputs={alias: _tensor_info(detail) for alias, detail in aliases.outputs.items()},
        method_name=PREDICT_METHOD,
    )


def _tensor_info(detail: Details) -> pb.TensorInfo:
    info = pb.TensorInfo(name=detail["name"], dtype=dtype_number(np.dtype(detail["dtype"])))
    for size in detail["shape_signature"]:
        info.tensor_shape.dim.add(size=int(size))
    return info
