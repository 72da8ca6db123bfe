"""TensorFlow Serving's own test models, exported here as its testdata scripts export them, and a TFLite file."""

from pathlib import Path
from typing import Any

import tensorflow as tf

v1 = tf.compat.v1

PREDICT, CLASSIFY, REGRESS = (f"tensorflow/serving/{method}" for method in ("predict", "classify", "regress"))


def write_half_plus(base: Path, version: int, *, addend: float) -> Path:
    """half_plus_two or half_plus_three as TensorFlow 1 exports it: y = x / 2 + addend, x of shape [?, 1].

    serving_default predicts; regress_x_to_y and classify_x_to_y read tf.Examples with a feature `x`.
    """
    folder = base / str(version)
    with tf.Graph().as_default(), v1.Session() as session:
        half, plus = v1.get_variable("a", initializer=0.5), v1.get_variable("b", initializer=addend)
        serialized = v1.placeholder(tf.string, name="tf_example")
        read = v1.io.parse_example(serialized, {"x": tf.io.FixedLenFeature([1], tf.float32)})
        read["x"].set_shape([None, 1])  # as TensorFlow 1 infers it
        x = tf.identity(read["x"], name="x")
        y = tf.add(half * x, plus, name="y")
        session.run(v1.global_variables_initializer())
        _save(
            session,
            folder,
            {
                "serving_default": _signature({"x": x}, {"y": y}, PREDICT),
                "regress_x_to_y": _signature({"inputs": serialized}, {"outputs": y}, REGRESS),
                "classify_x_to_y": _signature({"inputs": serialized}, {"scores": y}, CLASSIFY),
            },
        )
    return folder


def write_counter(base: Path, version: int) -> Path:
    """saved_model_counter: TensorFlow 1 signatures without inputs that change a variable."""
    folder = base / str(version)
    with tf.Graph().as_default(), v1.Session() as session:
        counter = v1.get_variable("counter", initializer=0.0, use_resource=False)
        delta = v1.placeholder_with_default(tf.constant(1.0), [], name="delta")
        session.run(v1.global_variables_initializer())
        _save(
            session,
            folder,
            {
                "get_counter": _signature({}, {"output": tf.identity(counter)}, PREDICT),
                "incr_counter": _signature({}, {"output": counter.assign_add(1.0)}, PREDICT),
                "incr_counter_by": _signature({"delta": delta}, {"output": counter.assign_add(delta)}, PREDICT),
                "reset_counter": _signature({}, {"output": counter.assign(0.0)}, PREDICT),
            },
        )
    return folder


class _HalfPlusTwo(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec([None, 1], tf.float32, name="x")])
    def predict(self, x: Any) -> Any:
        return {"y": 0.5 * x + 2.0}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs: Any) -> Any:
        return {"scores": self._read(inputs)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs: Any) -> Any:
        return {"outputs": self._read(inputs)}

    def _read(self, inputs: Any) -> Any:
        return 0.5 * tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([1], tf.float32)})["x"] + 2.0


def write_half_plus_two_2(base: Path, version: int) -> Path:
    """half_plus_two as TensorFlow 2 exports it: every signature's method is predict."""
    model, folder = _HalfPlusTwo(), base / str(version)
    signatures = {
        "serving_default": model.predict,
        "classify_x_to_y": model.classify,
        "regress_x_to_y": model.regress,
    }
    tf.saved_model.save(model, str(folder), signatures=signatures)
    return folder


def write_tflite(base: Path, version: int, *, signature: str | None) -> Path:
    """`base/version/model.tflite` and nothing else: half_plus_two with a signature of that name, or with none."""
    folder = base / str(version)
    folder.mkdir(parents=True)
    model = _HalfPlusTwo()
    if signature is None:
        converter = tf.lite.TFLiteConverter.from_concrete_functions([model.predict.get_concrete_function()])
    else:
        saved = folder.parent / f".saved-{version}"
        tf.saved_model.save(model, str(saved), signatures={signature: model.predict})
        converter = tf.lite.TFLiteConverter.from_saved_model(str(saved), signature_keys=[signature])
    (folder / "model.tflite").write_bytes(converter.convert())
    return folder


def _signature(inputs: dict[str, Any], outputs: dict[str, Any], method: str) -> Any:
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {name: info(tensor) for name, tensor in inputs.items()},
        {name: info(tensor) for name, tensor in outputs.items()},
        method,
    )


def _save(session: Any, folder: Path, signatures: dict[str, Any]) -> None:
    builder = v1.saved_model.Builder(str(folder))
    builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
    builder.save()
