"""PredictionService and ModelService as tensorflow-serving-api's own clients see them.

The same cases run on our model server and, where CLEARDIGITS_TFSERVING=host:port names a TensorFlow Serving that serves
the shipped denoiser as `denoiser`, on that one too: they stay twins.
"""

import os
from pathlib import Path
from types import SimpleNamespace

import grpc
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from tests.support.model_server import CALL_S, model_server, outcome

ROOT = Path(__file__).parents[2]
TENSORFLOW_SERVING = os.environ.get("CLEARDIGITS_TFSERVING")
Code = grpc.StatusCode


@pytest.fixture(scope="module", params=["model_server", *(["tensorflow_serving"] if TENSORFLOW_SERVING else [])])
def server(request):
    """The stubs of tensorflow-serving-api, connected."""
    if request.param == "tensorflow_serving":
        with grpc.insecure_channel(TENSORFLOW_SERVING) as channel:
            yield _stubs(channel)
        return
    with model_server(model_name="denoiser", model_base_path=str(ROOT / "models/denoiser")) as running:
        yield _stubs(running.channel)


def _stubs(channel):
    return SimpleNamespace(
        prediction=prediction_service_pb2_grpc.PredictionServiceStub(channel),
        model=model_service_pb2_grpc.ModelServiceStub(channel),
    )


def _request(images=None, **spec):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "denoiser"
    for name, value in spec.items():
        if name == "version":
            request.model_spec.version.value = value
        else:
            setattr(request.model_spec, name, value)
    if images is None:
        images = np.zeros((1, 28, 28, 1), np.float32)
    request.inputs["images"].CopyFrom(images if not isinstance(images, np.ndarray) else tf.make_tensor_proto(images))
    return request


def _predict(server, request):
    return server.prediction.Predict(request, timeout=CALL_S)


# ---- answers


def test_an_answer_names_model_version_and_signature(server, rng):
    images = rng.random((3, 28, 28, 1), np.float32)

    response = _predict(server, _request(images))

    assert response.model_spec.name == "denoiser"
    assert response.model_spec.version.value >= 1
    assert response.model_spec.signature_name == "serving_default"
    assert list(response.outputs) == ["denoised"]
    assert tf.make_ndarray(response.outputs["denoised"]).shape == (3, 28, 28, 1)


def test_values_come_back_in_float_val_by_default(server):
    output = _predict(server, _request()).outputs["denoised"]

    assert not output.tensor_content
    assert len(output.float_val) == 784


def test_both_encodings_of_an_input_give_one_answer(server, rng):
    images = rng.random((2, 28, 28, 1), np.float32)
    values = tf.make_tensor_proto(images)
    values.ClearField("tensor_content")
    values.float_val.extend(images.ravel().tolist())

    by_content, by_values = _predict(server, _request(images)), _predict(server, _request(values))

    assert by_content.outputs["denoised"] == by_values.outputs["denoised"]


def test_one_value_fills_the_whole_shape(server):
    single = tf.make_tensor_proto(0.5, dtype=tf.float32)
    single.tensor_shape.CopyFrom(tf.TensorShape([2, 28, 28, 1]).as_proto())

    filled = _predict(server, _request(np.full((2, 28, 28, 1), 0.5, np.float32)))

    assert _predict(server, _request(single)).outputs["denoised"] == filled.outputs["denoised"]


def test_the_output_filter_picks_outputs(server):
    request = _request()
    request.output_filter.append("denoised")

    assert list(_predict(server, request).outputs) == ["denoised"]


def test_a_version_can_be_named(server):
    version = _predict(server, _request()).model_spec.version.value

    assert _predict(server, _request(version=version)).model_spec.version.value == version


def test_metadata_holds_the_signatures_of_the_saved_model(server):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "denoiser"

    response = server.prediction.GetModelMetadata(request, timeout=CALL_S)

    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    signature = signatures.signature_def["serving_default"]
    assert signature.method_name == "tensorflow/serving/predict"
    assert [dim.size for dim in signature.inputs["images"].tensor_shape.dim] == [-1, -1, -1, 1]
    assert signature.inputs["images"].dtype == tf.float32.as_datatype_enum
    assert list(signature.outputs) == ["denoised"]
    assert response.model_spec.version.value >= 1


def test_status_lists_versions_and_states(server):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "denoiser"

    statuses = server.model.GetModelStatus(request, timeout=CALL_S).model_version_status

    assert {status.state for status in statuses} == {get_model_status_pb2.ModelVersionStatus.AVAILABLE}
    assert all(status.status.error_code == 0 for status in statuses)


# ---- the table of codes and messages


def _without_spec():
    request = predict_pb2.PredictRequest()
    request.inputs["images"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 28, 28, 1), np.float32)))
    return request


def _renamed():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "denoiser"
    request.inputs["pictures"].CopyFrom(tf.make_tensor_proto(np.zeros((1, 28, 28, 1), np.float32)))
    return request


def _with_extra():
    request = _request()
    request.inputs["extra"].CopyFrom(tf.make_tensor_proto(1.0))
    return request


def _without_inputs():
    request = predict_pb2.PredictRequest()
    request.model_spec.name = "denoiser"
    return request


def _short_content():
    proto = tf.make_tensor_proto(np.zeros((1, 28, 28, 1), np.float32))
    proto.tensor_content = proto.tensor_content[:-1]
    return _request(proto)


def _filtered(*names):
    request = _request()
    request.output_filter.extend(names)
    return request


SIZE_MISMATCH = "input size does not match signature: "
PREDICT_TABLE = {
    "no model_spec": (_without_spec, Code.INVALID_ARGUMENT, "Missing ModelSpec"),
    "empty name": (lambda: _request(name=""), Code.INVALID_ARGUMENT, "ModelSpec has no name specified."),
    "unknown model": (
        lambda: _request(name="nobody"),
        Code.NOT_FOUND,
        "Servable not found for request: Latest(nobody)",
    ),
    "unknown version": (
        lambda: _request(version=99),
        Code.NOT_FOUND,
        "Servable not found for request: Specific(denoiser, 99)",
    ),
    "unknown label": (
        lambda: _request(version_label="stable"),
        Code.INVALID_ARGUMENT,
        "Unrecognized servable version label: stable",
    ),
    "unknown signature": (
        lambda: _request(signature_name="polish"),
        Code.FAILED_PRECONDITION,
        'Serving signature key "polish" not found.',
    ),
    "missing input": (
        _without_inputs,
        Code.INVALID_ARGUMENT,
        SIZE_MISMATCH + "0!=1 len({}) != len({images}). Sent extra: {}. Missing but required: {images}.",
    ),
    "extra input": (
        _with_extra,
        Code.INVALID_ARGUMENT,
        SIZE_MISMATCH + "2!=1 len({extra,images}) != len({images}). Sent extra: {extra}. Missing but required: {}.",
    ),
    "wrong input name": (
        _renamed,
        Code.INVALID_ARGUMENT,
        "Signature input alias: images(feed name: serving_default_images:0) not found in request and no default value "
        "provided.",
    ),
    "bytes do not fill the shape": (_short_content, Code.INVALID_ARGUMENT, "tensor parsing error: images"),
    "wrong dtype": (
        lambda: _request(np.array([b"seven"])),
        Code.INVALID_ARGUMENT,
        "Expects arg[0] to be float but string is provided",
    ),
    "wrong shape": (lambda: _request(np.zeros((1, 5), np.float32)), Code.INVALID_ARGUMENT, ""),
    "unknown output": (
        lambda: _filtered("polished"),
        Code.INVALID_ARGUMENT,
        "output tensor alias not found in signature: polished Outputs expected to be in the set {denoised}.",
    ),
    "output asked for twice": (
        lambda: _filtered("denoised", "denoised"),
        Code.INVALID_ARGUMENT,
        "duplicate output tensor alias: denoised",
    ),
}


@pytest.mark.parametrize("case", PREDICT_TABLE)
def test_predict_refuses_in_tensorflow_servings_words(server, case):
    make_request, code, message = PREDICT_TABLE[case]

    actual_code, actual_message = outcome(lambda: _predict(server, make_request()))

    assert actual_code == code
    assert actual_message.startswith(message)


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("nobody", None, "Could not find any versions of model nobody"),
        ("denoiser", 99, "Could not find version 99 of model denoiser"),
    ],
)
def test_status_of_what_never_was_is_not_found(server, name, version, message):
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = name
    if version is not None:
        request.model_spec.version.value = version

    assert outcome(lambda: server.model.GetModelStatus(request, timeout=CALL_S)) == (Code.NOT_FOUND, message)


def test_status_without_a_spec_is_invalid(server):
    request = get_model_status_pb2.GetModelStatusRequest()

    assert outcome(lambda: server.model.GetModelStatus(request, timeout=CALL_S)) == (
        Code.INVALID_ARGUMENT,
        "Missing ModelSpec",
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([], "GetModelMetadataRequest must specify at least one metadata_field"),
        (["weights"], "Metadata field weights is not supported"),
    ],
)
def test_metadata_of_odd_fields_is_invalid(server, fields, message):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=fields)
    request.model_spec.name = "denoiser"

    assert outcome(lambda: server.prediction.GetModelMetadata(request, timeout=CALL_S)) == (
        Code.INVALID_ARGUMENT,
        message,
    )


def test_reload_takes_nothing_but_a_model_list(server):
    request = model_management_pb2.ReloadConfigRequest()

    code, message = outcome(lambda: server.model.HandleReloadConfigRequest(request, timeout=CALL_S))

    assert code == Code.INVALID_ARGUMENT
    assert message.startswith("ServerModelConfig type not supported by HandleReloadConfigRequest.")


def test_reload_does_not_move_a_label_to_a_version_that_is_not_loaded(server):
    request = model_management_pb2.ReloadConfigRequest()
    entry = request.config.model_config_list.config.add(
        name="denoiser", base_path=str(ROOT / "models/denoiser"), model_platform="tensorflow"
    )
    entry.version_labels["canary"] = 99

    code, message = outcome(lambda: server.model.HandleReloadConfigRequest(request, timeout=CALL_S))

    assert code == Code.FAILED_PRECONDITION
    assert message == (
        "Request to assign label to version 99 of model denoiser, which is not currently available for inference"
    )
