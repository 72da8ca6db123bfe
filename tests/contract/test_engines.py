"""Every engine gives the SavedModel's answers: on the shipped pair, and where there is only a SavedModel."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from services.model_server.engines import choice
from services.model_server.engines.base import LoadError
from services.model_server.engines.choice import EngineOptions, load_engine
from services.pb import tfserving_pb2 as pb
from tests.support.model_server import CALL_S, model_server, outcome
from tests.support.stack import MODELS, SHIPPED

OUTPUTS = {"denoiser": "denoised", "classifier": "probabilities"}
CLASSIFY, REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def _shipped(name):
    return MODELS / name / str(SHIPPED)


@pytest.mark.parametrize("prefer_tflite", [False, True], ids=["onnx", "litert"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_the_shipped_models_answer_as_their_saved_model_does(name, prefer_tflite, rng):
    folder, output = _shipped(name), OUTPUTS[name]
    reference = tf.saved_model.load(str(folder)).signatures["serving_default"]
    engine = load_engine(folder, EngineOptions(prefer_tflite=prefer_tflite))

    assert engine.name == ("litert" if prefer_tflite else "onnx")
    for count in (1, 7, 64, 3):
        images = rng.random((count, 28, 28, 1), np.float32)
        (answer,) = engine.run("serving_default", {"images": images}, [output])
        np.testing.assert_allclose(answer, reference(images=tf.constant(images))[output].numpy(), atol=1e-5)


@pytest.mark.parametrize("prefer_tflite", [False, True], ids=["onnx", "litert"])
def test_an_engine_works_for_several_threads_at_once(prefer_tflite, rng):
    engine = load_engine(_shipped("classifier"), EngineOptions(prefer_tflite=prefer_tflite))
    batches = [rng.random((n % 5 + 1, 28, 28, 1), np.float32) for n in range(40)]
    expected = [engine.run("serving_default", {"images": batch}, ["probabilities"])[0] for batch in batches]

    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda x: engine.run("serving_default", {"images": x}, ["probabilities"])[0], batches)

    for answer, wanted in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer, wanted, atol=1e-6)


class Toy(tf.Module):
    """Doubles numbers, and reads them from tf.Examples with one float feature `x`."""

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, name="x")])
    def double(self, x):
        return {"y": 2 * x}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def classify(self, inputs):
        x = self._read(inputs)
        return {"scores": tf.stack([x, 1 - x], axis=1), "classes": tf.tile([["yes", "no"]], [tf.size(x), 1])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="inputs")])
    def regress(self, inputs):
        return {"outputs": 10 * self._read(inputs)}

    def _read(self, inputs):
        return tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]


@pytest.fixture(scope="module")
def saved_model(tmp_path_factory):
    """A base path whose version 5 has a saved_model.pb and nothing lighter."""
    base = tmp_path_factory.mktemp("models") / "toy"
    toy, folder = Toy(), base / "5"
    signatures = {"serving_default": toy.double, "classify": toy.classify, "regress": toy.regress}
    tf.saved_model.save(toy, str(folder), signatures=signatures)
    _set_methods(folder / "saved_model.pb", {"classify": CLASSIFY, "regress": REGRESS})
    return base


def _set_methods(path, methods):
    """TensorFlow 2 writes every signature as a predict one; older exporters wrote what a signature was for."""
    message = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    for key, method in methods.items():
        message.meta_graphs[0].signature_def[key].method_name = method
    path.write_bytes(message.SerializeToString())


@pytest.fixture(scope="module")
def server(saved_model):
    with model_server(model_name="toy", model_base_path=str(saved_model)) as running:
        yield running


def _examples(*values):
    features = (tf.train.Feature(float_list=tf.train.FloatList(value=[value])) for value in values)
    examples = [tf.train.Example(features=tf.train.Features(feature={"x": feature})) for feature in features]
    return pb.Input(example_list=pb.Input.ExampleList(examples=[example.SerializeToString() for example in examples]))


def _spec(key):
    return pb.ModelSpec(name="toy", signature_name=key)


def test_a_saved_model_alone_is_served_by_tensorflow(server):
    assert server.predict("toy", x=np.float32([[1, 2]]))["y"].tolist() == [[2.0, 4.0]]


def test_classify(server):
    request = pb.ClassificationRequest(model_spec=_spec("classify"), input=_examples(0.25, 1))

    response = server.call("Classify", request, pb.ClassificationResponse)

    answers = [[(one.label, one.score) for one in entry.classes] for entry in response.result.classifications]
    assert answers == [[("yes", 0.25), ("no", 0.75)], [("yes", 1.0), ("no", 0.0)]]
    assert response.model_spec.version.value == 5


def test_regress(server):
    request = pb.RegressionRequest(model_spec=_spec("regress"), input=_examples(0.5, 2))

    response = server.call("Regress", request, pb.RegressionResponse)

    assert [entry.value for entry in response.result.regressions] == [5.0, 20.0]


def test_a_shared_context_is_merged_into_each_example(server):
    example = _examples(0.5).example_list.examples[0]
    shared = pb.Input(example_list_with_context=pb.Input.ExampleListWithContext(examples=[b"", b""], context=example))
    request = pb.RegressionRequest(model_spec=_spec("regress"), input=shared)

    response = server.call("Regress", request, pb.RegressionResponse)

    assert [entry.value for entry in response.result.regressions] == [5.0, 5.0]


def test_multi_inference(server):
    tasks = [
        pb.MultiInferenceRequest.InferenceTask(model_spec=_spec("classify"), method_name=CLASSIFY),
        pb.MultiInferenceRequest.InferenceTask(model_spec=_spec("regress"), method_name=REGRESS),
    ]
    request = pb.MultiInferenceRequest(tasks=tasks, input=_examples(0.25))

    response = server.call("MultiInference", request, pb.MultiInferenceResponse)

    classified, regressed = response.results
    assert classified.classification_result.classifications[0].classes[0].score == 0.25
    assert regressed.regression_result.regressions[0].value == 2.5


@pytest.mark.parametrize(
    ("method", "request_class", "key", "sent", "code", "message"),
    [
        ("Classify", pb.ClassificationRequest, "serving_default", _examples(1), "INVALID_ARGUMENT", "No classi"),
        ("Regress", pb.RegressionRequest, "classify", _examples(1), "INVALID_ARGUMENT", "Expected one output Tensor."),
        ("Classify", pb.ClassificationRequest, "nope", _examples(1), "INVALID_ARGUMENT", "No signature was found"),
        ("Classify", pb.ClassificationRequest, "classify", pb.Input(), "INVALID_ARGUMENT", "Input is empty"),
    ],
)  # fmt: skip
def test_examples_that_do_not_fit_are_refused(server, method, request_class, key, sent, code, message):
    request = request_class(model_spec=_spec(key), input=sent)

    actual, text = outcome(lambda: server.call(method, request, request_class))

    assert actual == grpc.StatusCode[code]
    assert text.startswith(message)


def test_bytes_that_are_no_example_are_the_callers_mistake(server):
    garbage = pb.Input(example_list=pb.Input.ExampleList(examples=[b"\xff\xff"]))
    request = pb.RegressionRequest(model_spec=_spec("regress"), input=garbage)

    code, _ = outcome(lambda: server.call("Regress", request, pb.RegressionResponse))

    assert code == grpc.StatusCode.INVALID_ARGUMENT


def test_classify_and_regress_over_rest(server):
    def ask(method, body):
        return requests.post(f"{server.rest}/v1/models/toy:{method}", json=body, timeout=CALL_S).json()

    examples = [{"x": 0.25}, {"x": [1.0]}]

    assert ask("classify", {"signature_name": "classify", "examples": examples}) == {
        "results": [[["yes", 0.25], ["no", 0.75]], [["yes", 1.0], ["no", 0.0]]]
    }
    assert ask("regress", {"signature_name": "regress", "examples": [{}], "context": {"x": 0.5}}) == {"results": [5.0]}
    assert ask("regress", {"signature_name": "regress", "examples": []})["error"].endswith(
        "'examples' value is an empty array"
    )


def test_without_tensorflow_a_saved_model_alone_fails_to_load_and_says_why(saved_model, monkeypatch):
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(LoadError, match=r"needs tensorflow, which is not installed, and it has no model\.onnx"):
        load_engine(saved_model / "5", EngineOptions())
