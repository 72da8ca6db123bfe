"""Keras model -> `models/<name>/<version>/`: SavedModel, ONNX, TFLite, warm-up requests and model card.

A version is built in a hidden folder beside its place, checked there, and renamed: a server that watches the folder
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

from services.core.model_digest import CARD, file_digests, versions
from training.errors import ExportError
from training.export.onnx_graph import OPSET, Unsupported, to_graph

log = logging.getLogger(__name__)

SIGNATURE = "serving_default"
INPUT = "images"
IMAGE_SHAPE = (28, 28, 1)
WARMUP_BATCHES = (1, 8, 64)
WARMUP_STRIP_SHAPE = (1, 28, 112, 1)  # replayed as well where the sides are free
CHECKED_SIDES = ((28, 28), (28, 224), (32, 60))  # of pictures, where the sides are free
WARMUP_FILE = Path("assets.extra") / "tf_serving_warmup_requests"
CHECKED_IMAGES = 256
CHECKED_BATCHES = (1, 7, 512)
PREDICTED_AT_ONCE = 256  # images: their activations stay in the caches; ten thousand would take gigabytes
TOLERANCE = 1e-5

Predict = Callable[[np.ndarray], np.ndarray]
PredictAll = Callable[[np.ndarray], Mapping[str, np.ndarray]]


@dataclass(frozen=True, slots=True)
class Exportable:
    """A Keras model with the names it will be served under; one with several outputs answers a dictionary of them."""

    name: str
    outputs: tuple[str, ...]
    model: keras.Model

    @property
    def image_shape(self) -> tuple[int | None, ...]:
        """Height, width and channels; None for sides of any length."""
        return tuple(self.model.input_shape[1:])

    @property
    def any_size(self) -> bool:
        """Does it take pictures of any size?"""
        return None in self.image_shape

    @property
    def tensors(self) -> dict[str, keras.KerasTensor]:
        """What the model answers, symbolically, under the served names."""
        sequential = isinstance(self.model, keras.Sequential)  # which has no `output`
        return self.named(self.model.outputs[0] if sequential else self.model.output)

    def named(self, answer: Any) -> dict[str, Any]:
        """What the model answered, under the served names."""
        return {name: answer[name] for name in self.outputs} if isinstance(answer, dict) else {self.outputs[0]: answer}


@contextlib.contextmanager
def new_version(home: Path) -> Iterator[tuple[Path, int]]:
    """A hidden folder that becomes the next version in `home` if the block ends well, and vanishes if it does not."""
    hidden: Path | None = None
    try:
        home.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=".tmp-", dir=home))
        version = 1 + max(versions(home), default=0)
        building = hidden / str(version)  # its own name already: a signature carries it
        building.mkdir()
        yield building, version
        building.chmod(0o755)  # under any umask: a model server under another user has to read it
        building.rename(home / str(version))
        log.info("published %s", home / str(version))
    except (OSError, tf.errors.OpError) as exc:  # TensorFlow has its own words for a full disk
        raise ExportError(f"cannot write a version of {home.name} below {home}: {exc}") from exc
    finally:
        if hidden is not None:
            shutil.rmtree(hidden, ignore_errors=True)


def newest_version(home: Path) -> Path:
    """The folder of a model's newest version; ExportError where there is none."""
    if not (found := versions(home)):
        raise ExportError(f"there is no version of {home.name} in {home.parent}")
    return home / str(found[-1])


def write_version(exportable: Exportable, folder: Path, card: Mapping[str, Any]) -> None:
    """Write every file of a version into `folder`."""
    archive = keras.export.ExportArchive()
    archive.track(exportable.model)
    archive.add_endpoint(SIGNATURE, _serving_function(exportable))
    archive.write_out(str(folder), verbose=False)
    (folder / "model.onnx").write_bytes(to_onnx(exportable))
    (folder / "model.tflite").write_bytes(tf.lite.TFLiteConverter.from_saved_model(str(folder)).convert())
    _write_warmup(exportable, folder / WARMUP_FILE)
    whole = {**card, "files_sha256": file_digests(folder)}
    (folder / CARD).write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def to_onnx(exportable: Exportable) -> bytes:
    """The function in the model server's format."""
    try:
        return to_graph(exportable.model, exportable.tensors).SerializeToString()
    except Unsupported as exc:
        log.debug("tf2onnx converts %s: %s", exportable.name, exc)
    import tf2onnx  # rewires TensorFlow's logging on import, so only where it is needed

    function = _serving_function(exportable)
    graph, _ = tf2onnx.convert.from_function(function, input_signature=function.input_signature, opset=OPSET)
    return graph.SerializeToString()


def load_version(model: keras.Model, folder: Path) -> None:
    """Give a network the weights that a published version of it holds."""
    if not (folder / "saved_model.pb").is_file():
        raise ExportError(f"there is no version in {folder}")
    weights = [variable.numpy() for variable in tf.saved_model.load(str(folder)).variables]
    if [array.shape for array in weights] != [variable.shape for variable in model.variables]:
        raise ExportError(f"{folder} holds another network than {model.name} is now")
    model.set_weights(weights)


def check_version(exportable: Exportable, folder: Path, images: np.ndarray) -> None:
    """Raise ExportError unless every file of the version answers as the Keras model does, at every batch size."""
    examples = np.resize(images, (CHECKED_IMAGES, *IMAGE_SHAPE))
    for kind, predict in _readers(exportable, folder).items():
        for sides in CHECKED_SIDES if exportable.any_size else CHECKED_SIDES[:1]:
            pictures = np.resize(images, (CHECKED_IMAGES // 8, *sides, 1)) if sides != CHECKED_SIDES[0] else examples
            answer, expected = predict(pictures), exportable.named(exportable.model.predict_on_batch(pictures))
            for output in exportable.outputs:
                worst = _distance(answer[output], np.asarray(expected[output]))
                if not worst <= TOLERANCE:  # a NaN is not within any tolerance
                    raise ExportError(f"{kind} of {exportable.name} is off from the Keras model by {worst:.2g}")
        for batch in CHECKED_BATCHES:
            for output, array in predict(np.resize(images, (batch, *IMAGE_SHAPE))).items():
                if array.shape != (batch, *expected[output].shape[1:]) and not exportable.any_size:
                    raise ExportError(
                        f"{kind} of {exportable.name} answers a batch of {batch} with {output} of shape {array.shape}"
                    )
    found = [tuple(each.size for each in request.inputs[INPUT].tensor_shape.dim) for request in read_warmup(folder)]
    if found != warmup_shapes(exportable):
        raise ExportError(
            f"the warm-up file of {exportable.name} holds shapes {found}, not {warmup_shapes(exportable)}"
        )


def warmup_shapes(exportable: Exportable) -> list[tuple[int, ...]]:
    """Of the pictures that a server replays before it calls a version available."""
    shapes: list[tuple[int, ...]] = [(batch, *IMAGE_SHAPE) for batch in WARMUP_BATCHES]
    return [*shapes, WARMUP_STRIP_SHAPE] if exportable.any_size else shapes


def read_warmup(folder: Path) -> list[predict_pb2.PredictRequest]:
    """The requests of a version's warm-up file."""
    records = tf.data.TFRecordDataset(str(folder / WARMUP_FILE)).as_numpy_iterator()
    return [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in records]


def onnx_predictor(graph: Path | bytes, *, threads: int = 0, output: str | None = None) -> Predict:
    """One output of a function in ONNX, the first unless named, in the server's engine; 0 threads: one per core."""
    session = _session(graph, threads)
    return _predictor(session, output or session.get_outputs()[0].name)


def onnx_predictors(graph: Path | bytes) -> dict[str, Predict]:
    """Every output of a function in ONNX by its name."""
    session = _session(graph, threads=0)
    return {output.name: _predictor(session, output.name) for output in session.get_outputs()}


def _session(graph: Path | bytes, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _predictor(session: onnxruntime.InferenceSession, output: str) -> Predict:
    def predict(images: np.ndarray) -> np.ndarray:
        starts = range(0, max(1, len(images)), PREDICTED_AT_ONCE)  # an empty batch is still asked, for its shape
        return np.concatenate([session.run([output], {INPUT: images[at : at + PREDICTED_AT_ONCE]})[0] for at in starts])

    return predict


def _distance(answer: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(answer - expected).max()) if answer.shape == expected.shape else np.inf


def _serving_function(exportable: Exportable) -> Any:
    @tf.function(input_signature=[tf.TensorSpec((None, *exportable.image_shape), tf.float32, name=INPUT)])
    def serve(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return exportable.named(exportable.model(images, training=False))

    return serve


def _write_warmup(exportable: Exportable, path: Path) -> None:
    """What TensorFlow Serving replays before it calls a version AVAILABLE: black pictures, in a few shapes."""
    path.parent.mkdir()
    spec = model_pb2.ModelSpec(name=exportable.name, signature_name=SIGNATURE)
    with tf.io.TFRecordWriter(str(path)) as records:
        for shape in warmup_shapes(exportable):
            request = predict_pb2.PredictRequest(model_spec=spec)
            request.inputs[INPUT].CopyFrom(tf.make_tensor_proto(np.zeros(shape, np.float32)))
            entry = prediction_log_pb2.PredictionLog(predict_log=prediction_log_pb2.PredictLog(request=request))
            records.write(entry.SerializeToString())


def _readers(exportable: Exportable, folder: Path) -> dict[str, PredictAll]:
    saved = tf.saved_model.load(str(folder)).signatures[SIGNATURE]
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    names = list(exportable.outputs)
    return {
        "the SavedModel": lambda images: {
            name: array.numpy() for name, array in saved(**{INPUT: tf.constant(images)}).items()
        },
        "model.onnx": lambda images: dict(zip(names, session.run(names, {INPUT: images}), strict=True)),
        "model.tflite": _tflite_predictor(folder / "model.tflite"),
    }


def _tflite_predictor(path: Path) -> PredictAll:
    with warnings.catch_warnings():  # it announces its move to another package, which the training image need not carry
        warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated", category=UserWarning)
        runner = tf.lite.Interpreter(model_path=str(path)).get_signature_runner(SIGNATURE)
    return lambda images: runner(**{INPUT: images})
