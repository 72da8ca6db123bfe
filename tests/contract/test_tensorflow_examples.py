"""TensorFlow Serving's own test models over gRPC and REST: half_plus_two and _three, the counter, a TFLite file."""

import grpc
import numpy as np
import pytest
import requests
import tensorflow as tf

from services.pb import tfserving_pb2 as pb
from tests.support.model_server import CALL_S, model_server, outcome, predict_request
from tests.support.tensorflow_models import (
    CLASSIFY,
    REGRESS,
    write_counter,
    write_half_plus,
    write_half_plus_two_2,
    write_tflite,
)

MODELS = ("half_plus_two", "half_plus_three", "half_plus_two_2", "counter")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    write_half_plus(folder / "half_plus_two", 123, addend=2.0)
    write_half_plus(folder / "half_plus_three", 123, addend=3.0)
    write_half_plus_two_2(folder / "half_plus_two_2", 1)
    write_counter(folder / "counter", 1)
    return folder


def _config(folder):
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow" }}' for name in MODELS
    )
    path = folder / "models.config"
    path.write_text(f"model_config_list {{ {entries} }}")
    return str(path)


@pytest.fixture(scope="module")
def server(folder):
    with model_server(model_config_file=_config(folder)) as running:
        yield running


def _rest(server, model, verb, body):
    return requests.post(f"{server.rest}/v1/models/{model}:{verb}", json=body, timeout=CALL_S)


@pytest.mark.parametrize("model", ["half_plus_two", "half_plus_two_2"])
def test_the_example_of_their_readme(server, model):
    """curl -d '{"instances": [1.0, 2.0, 5.0]}' .../half_plus_two:predict, although the signature says [?, 1]."""
    described = requests.get(f"{server.rest}/v1/models/{model}/metadata", timeout=CALL_S).json()
    signature = described["metadata"]["signature_def"]["signature_def"]["serving_default"]
    answer = _rest(server, model, "predict", {"instances": [1.0, 2.0, 5.0]})

    assert [dim["size"] for dim in signature["inputs"]["x"]["tensor_shape"]["dim"]] == ["-1", "1"]
    assert answer.json() == {"predictions": [2.5, 3.0, 4.5]}


def test_half_plus_three(server):
    assert server.predict("half_plus_three", x=np.float32([[2.0]]))["y"].tolist() == [[4.0]]
    assert _rest(server, "half_plus_three", "predict", {"inputs": [[2.0]]}).json() == {"outputs": [[4.0]]}


def _examples(*values):
    features = (tf.train.Feature(float_list=tf.train.FloatList(value=[value])) for value in values)
    examples = [tf.train.Example(features=tf.train.Features(feature={"x": feature})) for feature in features]
    return pb.Input(example_list=pb.Input.ExampleList(examples=[example.SerializeToString() for example in examples]))


def _spec(model, key):
    return pb.ModelSpec(name=model, signature_name=key)


@pytest.mark.parametrize("model", ["half_plus_two", "half_plus_two_2"])
def test_classify_and_regress_over_grpc(server, model):
    classify = pb.ClassificationRequest(model_spec=_spec(model, "classify_x_to_y"), input=_examples(2, 10))
    regress = pb.RegressionRequest(model_spec=_spec(model, "regress_x_to_y"), input=_examples(2, 10))

    classified = server.call("Classify", classify, pb.ClassificationResponse).result.classifications
    regressed = server.call("Regress", regress, pb.RegressionResponse).result.regressions

    assert [[(one.label, one.score) for one in entry.classes] for entry in classified] == [[("", 3.0)], [("", 7.0)]]
    assert [entry.value for entry in regressed] == [3.0, 7.0]


def test_classify_and_regress_over_rest_in_their_layout(server):
    examples = [{"x": 0.1}, {"x": [10]}]
    sent = {"signature_name": "regress_x_to_y", "examples": [{"x": 0.1}, {"x": 10.0}]}

    assert _rest(server, "half_plus_two", "regress", sent).text == '{\n    "results": [2.05, 7.0]\n}'
    sent["signature_name"] = "classify_x_to_y"
    assert _rest(server, "half_plus_two", "classify", sent).json() == {"results": [[["", 2.05]], [["", 7.0]]]}
    refused = _rest(server, "half_plus_two", "regress", {"signature_name": "regress_x_to_y", "examples": examples})
    assert refused.status_code == 400  # a whole number is an int64 feature, as there


def test_not_a_number_is_written_as_there(server):
    body = b'{"signature_name": "regress_x_to_y", "examples": [{"x": NaN}, {"x": Infinity}, {"x": -Infinity}]}'
    answer = requests.post(f"{server.rest}/v1/models/half_plus_two:regress", data=body, timeout=CALL_S)

    assert answer.text == '{\n    "results": [NaN, Infinity, -Infinity]\n}'


def test_multi_inference_on_a_tensorflow_2_export(server):
    tasks = [
        pb.MultiInferenceRequest.InferenceTask(
            model_spec=_spec("half_plus_two_2", "classify_x_to_y"), method_name=CLASSIFY
        ),
        pb.MultiInferenceRequest.InferenceTask(
            model_spec=_spec("half_plus_two_2", "regress_x_to_y"), method_name=REGRESS
        ),
    ]
    response = server.call(
        "MultiInference", pb.MultiInferenceRequest(tasks=tasks, input=_examples(2)), pb.MultiInferenceResponse
    )

    classified, regressed = response.results
    assert classified.classification_result.classifications[0].classes[0].score == 3.0
    assert regressed.regression_result.regressions[0].value == 3.0


def test_method_names_are_checked_when_asked_for(folder):
    flags = {"model_name": "half_plus_two_2", "model_base_path": str(folder / "half_plus_two_2")}
    request = pb.RegressionRequest(model_spec=_spec("half_plus_two_2", "regress_x_to_y"), input=_examples(2))
    with model_server(enable_signature_method_name_check=True, **flags) as running:
        refusal = outcome(lambda: running.call("Regress", request, pb.RegressionResponse))

    assert refusal == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "Expected regression signature method_name to be tensorflow/serving/regress. Was: tensorflow/serving/predict",
    )


def test_a_graph_that_counts(server):
    def ask(key, **inputs):
        request = predict_request("counter", **inputs)
        request.model_spec.signature_name = key
        return server.call("Predict", request, pb.PredictResponse).outputs["output"].float_val[0]

    assert ask("reset_counter") == 0.0
    assert ask("incr_counter") == 1.0
    assert ask("incr_counter_by", delta=np.float32(3)) == 4.0
    assert ask("get_counter") == 4.0


def test_errors_of_the_graph_have_its_words_and_no_python(server):
    request = predict_request("half_plus_two", x=np.float32([[1]]))
    request.inputs["x"].dtype = pb.DT_STRING
    request.inputs["x"].string_val.append(b"one")
    bad = pb.RegressionRequest(model_spec=_spec("half_plus_two", "regress_x_to_y"), input=_examples(1))
    bad.input.example_list.examples[0] = b""

    refusals = [
        outcome(lambda: server.call("Predict", request, pb.PredictResponse)),
        outcome(lambda: server.call("Regress", bad, pb.RegressionResponse)),
    ]

    assert [code for code, _ in refusals] == [grpc.StatusCode.INVALID_ARGUMENT] * 2
    assert refusals[0][1] == "Expects arg[0] to be float but string is provided"
    assert "Feature: x (data type: float) is required but could not be found." in refusals[1][1]
    assert not any(word in text for _, text in refusals for word in (".py", "Traceback", "Original stack", "File "))


@pytest.mark.parametrize(
    ("signature", "key", "alias"), [("serving_default", "", "x"), ("halve", "halve", "x"), (None, "", None)]
)
def test_a_tflite_file_is_served_over_grpc_and_rest(tmp_path, signature, key, alias):
    write_tflite(tmp_path / "lite", 1, signature=signature)
    with model_server(model_name="lite", model_base_path=str(tmp_path / "lite"), prefer_tflite_model=True) as running:
        document = requests.get(f"{running.rest}/v1/models/lite/metadata", timeout=CALL_S).json()
        described = document["metadata"]["signature_def"]["signature_def"][key or "serving_default"]
        (name,) = described["inputs"]
        request = predict_request("lite", **{name: np.float32([[1], [2], [5]])})
        request.model_spec.signature_name = key
        (output,) = running.call("Predict", request, pb.PredictResponse).outputs.values()
        body = {"signature_name": key, "instances": [[1.0], [2.0], [5.0]]}
        answer = _rest(running, "lite", "predict", body)

    assert alias in (name, None)
    assert list(output.float_val) == [2.5, 3.0, 4.5]
    assert answer.json() == {"predictions": [[2.5], [3.0], [4.5]]}
