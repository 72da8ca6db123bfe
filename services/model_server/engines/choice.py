"""Which engine serves a version folder: by the files in it and by what is installed."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from services.model_server.engines import saved_model
from services.model_server.engines.base import Engine, LoadError

ONNX_FILE = "model.onnx"
TFLITE_FILE = "model.tflite"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """What an operator may say about computing."""

    threads: int = 1
    inter_op_threads: int = 0  # operations of one call side by side; 0: the engine's default
    prefer_tflite: bool = False
    tflite_interpreters: int = 2  # an interpreter serves one call at a time
    tags: frozenset[str] = saved_model.SERVE


def load_engine(folder: Path, options: EngineOptions) -> Engine:
    """The engine for `folder`, loaded; LoadError says what is missing. Engines are imported when first needed."""
    threads, tags = options.threads, options.tags
    if options.prefer_tflite and (folder / TFLITE_FILE).is_file():
        _require("ai_edge_litert", folder / TFLITE_FILE, "ai-edge-litert")
        from services.model_server.engines.litert import LiteRTEngine

        return LiteRTEngine(folder, threads=threads, tags=tags, interpreters=options.tflite_interpreters)
    if (folder / ONNX_FILE).is_file():
        from services.model_server.engines.onnx import OnnxEngine

        return OnnxEngine(folder, threads=threads, tags=tags)
    if (folder / saved_model.FILE_NAME).is_file():
        _require("tensorflow", folder / saved_model.FILE_NAME, "tensorflow", instead=f"it has no {ONNX_FILE}")
        from services.model_server.engines.tensorflow import TensorFlowEngine

        return TensorFlowEngine(folder, threads=threads, inter_op_threads=options.inter_op_threads, tags=tags)
    raise LoadError(f"{folder} has neither {ONNX_FILE} nor {saved_model.FILE_NAME}")


def _require(module: str, path: Path, package: str, *, instead: str = "") -> None:
    if importlib.util.find_spec(module) is None:
        raise LoadError(f"{path} needs {package}, which is not installed" + (f", and {instead}" if instead else ""))
