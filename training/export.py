"""Keras model -> `models/<name>/<version>/`: SavedModel, ONNX, TFLite, warm-up requests and model card.

A version is built in a hidden folder beside its place, checked there, and renamed: whoever watches the models folder
sees a whole version or none.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from tensorflow_serving.apis import model_pb2, predict_pb2, prediction_log_pb2

from training.errors import ExportError

log = logging.getLogger(__name__)

SIGNATURE = "serving_default"
INPUT = "images"
IMAGE_SHAPE = (28, 28, 1)
ONNX_OPSET = 17
WARMUP_BATCHES = (1, 8, 64)
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
CHECKED_IMAGES = 256
CHECKED_BATCHES = (1, 7, 512)
PREDICTED_AT_ONCE = 256  # images: their activations stay in the caches; ten thousand would take gigabytes
TOLERANCE = 1e-5

Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True)
class Exportable:
    """A Keras model with the names it will be served under."""

    name: str
    output: str
    model: keras.Model


@contextlib.contextmanager
def new_version(home: Path) -> Iterator[tuple[Path, int]]:
    """A hidden folder that becomes the next version in `home` if the block ends well, and vanishes if it does not."""
    building: Path | None = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=".tmp-", dir=home))
        version = 1 + max(versions(home), default=0)
        yield building, version
        building.chmod(0o755)  # mkdtemp keeps others out; a model server under another user has to read it
        building.rename(home / str(version))
        log.info("published %s", home / str(version))
    except (OSError, tf.errors.OpError) as exc:  # TensorFlow has its own words for a full disk
        raise ExportError(f"cannot write a version of {home.name} below {home}: {exc}") from exc
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)


def versions(home: Path) -> list[int]:
    """The version numbers in a model's folder."""
    return sorted(int(child.name) for child in home.iterdir() if child.name.isdecimal()) if home.is_dir() else []


def write_version(exportable: Exportable, folder: Path, card: Mapping[str, Any]) -> None:
    """Write every file of a version into `folder`."""
    archive = keras.export.ExportArchive()
    archive.track(exportable.model)
    archive.add_endpoint(SIGNATURE, _serving_function(exportable))
    archive.write_out(str(folder), verbose=False)
    (folder / "model.onnx").write_bytes(to_onnx(exportable))
    (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())
    _write_warmup(exportable.name, folder / WARMUP_FILE)
    (folder / "model_card.json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")


def to_onnx(exportable: Exportable) -> bytes:
    """The function in the model server's format."""
    import tf2onnx  # rewires TensorFlow's logging on import, so only where it is needed

    function = _serving_function(exportable)
    graph, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=ONNX_OPSET)
    return graph.SerializeToString()


def check_version(exportable: Exportable, folder: Path, images: np.ndarray) -> None:
    """Raise ExportError unless every file of the version answers as the Keras model does, at every batch size."""
    examples = np.resize(images, (CHECKED_IMAGES, *IMAGE_SHAPE))
    expected = np.asarray(exportable.model.predict_on_batch(examples))
    for kind, predict in _readers(exportable, folder).items():
        worst = float(np.abs(predict(examples) - expected).max())
        if not worst <= TOLERANCE:  # a NaN is not within any tolerance
            raise ExportError(f"{kind} of {exportable.name} is off from the Keras model by {worst:.2g}")
        for batch in CHECKED_BATCHES:
            answer = predict(np.resize(images, (batch, *IMAGE_SHAPE)))
            if answer.shape != (batch, *expected.shape[1:]):
                raise ExportError(f"{kind} of {exportable.name} answers a batch of {batch} with shape {answer.shape}")
    found = tuple(request.inputs[INPUT].tensor_shape.dim[0].size for request in read_warmup(folder))
    if found != WARMUP_BATCHES:
        raise ExportError(f"the warm-up file of {exportable.name} holds batches {found}, not {WARMUP_BATCHES}")


def read_warmup(folder: Path) -> list[predict_pb2.PredictRequest]:
    """The requests of a version's warm-up file."""
    records = tf.data.TFRecordDataset(str(folder / WARMUP_FILE)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]


def onnx_predictor(graph: Path | bytes, *, threads: int = 0) -> Predict:
    """A function in ONNX, run by the model server's engine; 0 threads means one per core."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    source = graph if isinstance(graph, bytes) else str(graph)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def predict(images: np.ndarray) -> np.ndarray:
        starts = range(0, max(1, len(images)), PREDICTED_AT_ONCE)  # an empty batch is still asked, for its shape
        return np.concatenate([session.run(None, {INPUT: images[at : at + PREDICTED_AT_ONCE]})[0] for at in starts])

    return predict


def _serving_function(exportable: Exportable) -> Any:
    @tf.function(input_signature=[tf.TensorSpec((None, *IMAGE_SHAPE), tf.float32, name=INPUT)])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {exportable.output: exportable.model(images, training=False)}

    return serve


def _write_warmup(name: str, path: Path) -> None:
    """What TensorFlow Serving replays before it calls a version AVAILABLE: black pictures, in a few batch sizes."""
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as records:
        for batch in WARMUP_BATCHES:
            request = predict_pb2.PredictRequest(model_spec=model_pb2.ModelSpec(name=name, signature_name=SIGNATURE))
            request.inputs[INPUT].CopyFrom(tf.make_tensor_proto(np.zeros((batch, *IMAGE_SHAPE), np.float32)))
            entry = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            records.write(entry.SerializeToString())


def _readers(exportable: Exportable, folder: Path) -> dict[str, Predict]:
    saved = tf.saved_model.load(str(folder)).signatures[SIGNATURE]
    return {
        "the SavedModel": lambda images: saved(**{INPUT: tf.constant(images)})[exportable.output].numpy(),
        "model.onnx": onnx_predictor(folder / "model.onnx"),
        "model.tflite": _tflite_predictor(folder / "model.tflite", exportable.output),
    }


def _tflite_predictor(path: Path, output: str) -> Predict:
    with warnings.catch_warnings():  # it announces its move to another package, which the training image need not carry
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated", category=UserWarning)
        runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner(SIGNATURE)
    return lambda images: runner(**{INPUT: images})[output]
