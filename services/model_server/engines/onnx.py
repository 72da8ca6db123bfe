"""ONNX Runtime on model.onnx: the engine ClearDigits ships its models for."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from services.core.errors import InvalidInputError
from services.core.tensors import dtype_number
from services.model_server.engines import saved_model
from services.model_server.engines.base import LoadError
from services.model_server.signatures import DEFAULT_KEY, PREDICT_METHOD
from services.model_server.statuses import Code, StatusError
from services.pb import tfserving_pb2 as pb

FILE_NAME = "model.onnx"

# ONNX Runtime's exceptions share no base class of their own.
_ORT_ERRORS = tuple(
    kind for kind in vars(ort_errors).values() if isinstance(kind, type) and issubclass(kind, Exception)
)
_CODE = re.compile(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ")
_OUT_OF_MEMORY = ("Failed to allocate memory", "bad_alloc", "bad allocation")
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int16)": np.int16,
    "tensor(uint16)": np.uint16,
    "tensor(uint32)": np.uint32,
    "tensor(uint64)": np.uint64,
    "tensor(bool)": np.bool_,
    "tensor(float16)": np.float16,
    "tensor(string)": np.object_,
}


class OnnxEngine:
    """One InferenceSession. Its names are the aliases of the signature it computes."""

    name = "onnx"

    def __init__(self, folder: Path, *, threads: int = 1, tags: frozenset[str] = saved_model.SERVE) -> None:
        try:
            self._session = onnxruntime.InferenceSession(
                folder / FILE_NAME, session_options(threads), providers=["CPUExecutionProvider"]
            )
        except _ORT_ERRORS as exc:
            raise LoadError(f"{folder / FILE_NAME}: {exc}") from exc
        inputs = {node.name: _tensor_info(node) for node in self._session.get_inputs()}
        outputs = {node.name: _tensor_info(node) for node in self._session.get_outputs()}
        self.definitions: Mapping[str, pb.SignatureDef] = saved_model.read_definitions(folder, tags) or {
            DEFAULT_KEY: pb.SignatureDef(inputs=inputs, outputs=outputs, method_name=PREDICT_METHOD)
        }
        self.signature_keys = frozenset(
            key
            for key, definition in self.definitions.items()
            if definition.inputs and set(definition.inputs) == set(inputs) and set(definition.outputs) <= set(outputs)
        )
        if not self.signature_keys:
            raise LoadError(
                f"{folder / FILE_NAME} takes {sorted(inputs)} and gives {sorted(outputs)}: no signature of "
                f"{folder.name}/saved_model.pb does"
            )
        self._strings = {name for name, info in inputs.items() if info.dtype == pb.DT_STRING}

    def run(self, key: str, inputs: Mapping[str, np.ndarray], outputs: Sequence[str]) -> list[np.ndarray]:
        """Compute; several threads may be inside at once, ONNX Runtime lets go of the interpreter lock."""
        feeds = inputs
        if self._strings:
            feeds = {name: _text(name, array) if name in self._strings else array for name, array in inputs.items()}
        try:
            return [_as_bytes(array) for array in self._session.run(outputs, feeds)]
        except UnicodeDecodeError as exc:  # ONNX Runtime gives strings to Python as text only
            raise InvalidInputError("the model answered with bytes that are not UTF-8 text") from exc
        except _ORT_ERRORS as exc:
            words = _CODE.sub("", str(exc))
            if any(sign in words for sign in _OUT_OF_MEMORY):
                raise StatusError(Code.RESOURCE_EXHAUSTED, words) from exc
            raise InvalidInputError(words) from exc  # a graph that loaded fails on shapes and values that do not fit


def _text(name: str, array: np.ndarray) -> np.ndarray:
    """Byte strings as ONNX Runtime takes them: text, or bytes without a zero, where it would stop reading."""
    values = array.ravel().tolist()
    try:
        return np.array([value.decode() for value in values], object).reshape(array.shape)
    except UnicodeDecodeError as exc:
        if any(b"\0" in value for value in values):
            raise InvalidInputError(f"input {name} holds bytes that are neither UTF-8 text nor free of zeros") from exc
    return np.array(values, np.bytes_).reshape(array.shape)


def _as_bytes(array: np.ndarray) -> np.ndarray:
    """Text is bytes on this protocol; numbers pass untouched."""
    if array.dtype.kind != "O":
        return array
    return np.array([value.encode() for value in array.ravel()], object).reshape(array.shape)


def session_options(threads: int) -> onnxruntime.SessionOptions:
    """One thread a call: calls run side by side on the cores (docs/benchmarks/engines.md)."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # The arena saves a third of the time of a 64-image call. Memory patterns are kept for every batch size ever seen,
    # cost a quarter more memory and gain nothing.
    options.enable_cpu_mem_arena = True
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads sleep: cores are shared
    options.log_severity_level = 3
    return options


def _tensor_info(node: onnxruntime.NodeArg) -> pb.TensorInfo:
    if node.type not in _TYPES:
        raise LoadError(f"tensor {node.name} is a {node.type}, which this protocol does not carry")
    info = pb.TensorInfo(name=f"{node.name}:0", dtype=dtype_number(np.dtype(_TYPES[node.type])))
    for size in node.shape:
        info.tensor_shape.dim.add(size=size if isinstance(size, int) else -1)
    return info
