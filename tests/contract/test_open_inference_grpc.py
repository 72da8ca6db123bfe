"""The Open Inference Protocol over gRPC, as Triton's own client and messages speak it, with models in this process."""

import re
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import model_config_pb2 as model_config
from tritonclient.grpc import service_pb2 as theirs
from tritonclient.utils import InferenceServerException

from services.core.errors import ModelTimeoutError, ModelUnavailableError
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from services.pb import open_inference_pb2 as ours
from tests.support.fakes import fake_classifier, fake_denoiser
from tests.support.hosts import flask_client, grpc_running

ROOT = Path(__file__).parents[2]
SERVICE = "/inference.GRPCInferenceService/"
HEALTH = "/grpc.health.v1.Health/Check"
MODELS = ("digits", "denoiser", "classifier", "numbers")
MESSAGES = list(ours.DESCRIPTOR.message_types_by_name)
THEIRS = {**theirs.DESCRIPTOR.message_types_by_name, **model_config.DESCRIPTOR.message_types_by_name}


@pytest.fixture(scope="module")
def gateway() -> Gateway:
    config = GatewayConfig(request_timeout_ms=20_000)
    return Gateway(config, denoiser=fake_denoiser(version=3), classifier=fake_classifier(version=2))


@pytest.fixture(scope="module")
def port(gateway) -> Iterator[int]:
    with grpc_running(gateway) as port:
        yield port


@pytest.fixture(scope="module")
def client(port) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield client


@pytest.fixture(scope="module")
def channel(port) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@pytest.fixture
def images() -> np.ndarray:
    """Of brightness 0.15, 0.35 and 0.95: the fake classifier reads 1, 3 and 9."""
    return np.float32([0.15, 0.35, 0.95])[:, None, None, None] * np.ones((1, 28, 28, 1), np.float32)


def tensor_of(images: np.ndarray, datatype: str = "FP32") -> triton.InferInput:
    tensor = triton.InferInput("images", list(images.shape), datatype)
    tensor.set_data_from_numpy(images)
    return tensor


def typed(images: np.ndarray, model: str = "digits", **more) -> theirs.ModelInferRequest:
    tensor = theirs.ModelInferRequest.InferInputTensor(name="images", datatype="FP32", shape=images.shape)
    tensor.contents.fp32_contents.extend(images.ravel().tolist())
    return theirs.ModelInferRequest(model_name=model, inputs=[tensor], **more)


def infer(channel: grpc.Channel, request: theirs.ModelInferRequest) -> theirs.ModelInferResponse:
    method = channel.unary_unary(
        f"{SERVICE}ModelInfer",
        request_serializer=theirs.ModelInferRequest.SerializeToString,
        response_deserializer=theirs.ModelInferResponse.FromString,
    )
    return method(request, timeout=20)


def differences(ours, theirs) -> list[str]:
    """Fields of ours that mean something else, or nothing, to them."""
    found = []
    for field in ours.fields:
        other = theirs.fields_by_number.get(field.number)
        if other is None or (other.name, other.type, other.is_repeated) != (field.name, field.type, field.is_repeated):
            found.append(field.full_name)
        elif field.message_type is not None and field.message_type.full_name != ours.full_name:
            found += differences(field.message_type, other.message_type)
    return found


@pytest.mark.parametrize("name", MESSAGES)
def test_every_field_has_their_number_name_and_type(name):
    assert differences(getattr(ours, name).DESCRIPTOR, THEIRS[name]) == []


def test_every_datatype_has_their_number():
    for name, number in ours.DataType.items():
        assert model_config.DataType.Value(name) == number


def test_every_method_is_one_of_theirs(gateway):
    methods = theirs.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name
    described = ours.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods

    offered = {operation.rule for operation in gateway.grpc_operations} - {HEALTH}
    assert offered == {f"{SERVICE}{each.name}" for each in described}
    for method in described:
        assert methods[method.name].input_type.name == method.input_type.name
        assert methods[method.name].output_type.name == method.output_type.name


def test_tritons_client_finds_the_server_and_its_models(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.get_server_metadata().name == "cleardigits"
    assert all(client.is_model_ready(model) for model in MODELS)
    assert client.is_model_ready("denoiser", "3")


def test_models_are_described_as_over_http(client, gateway):
    config = GatewayConfig()
    with flask_client(
        Gateway(config, denoiser=fake_denoiser(version=3), classifier=fake_classifier(version=2))
    ) as http:
        for model in MODELS:
            said = client.get_model_metadata(model, as_json=True)
            for tensor in (*said["inputs"], *said["outputs"]):
                tensor["shape"] = [int(size) for size in tensor["shape"]]  # JSON of protobuf writes int64 as strings

            assert said == http.get(f"/v2/models/{model}").json


@pytest.mark.parametrize("model", MODELS)
def test_models_are_configured_as_over_http(client, gateway, model):
    """Triton's clients read the same message from the JSON of HTTP."""
    said = client.get_model_config(model).config
    with flask_client(gateway) as http:
        over_http = ParseDict(http.get(f"/v2/models/{model}/config").json, model_config.ModelConfig())

    assert said == over_http


def test_calls_are_counted_of_one_model_and_of_all(client, images):
    def counted(name: str = "digits") -> list[theirs.ModelStatistics]:
        return list(client.get_inference_statistics(name).model_stats)

    (before,) = counted()
    client.infer("digits", [tensor_of(images)])
    (after,) = counted()

    assert (after.name, after.version) == ("digits", "1")
    assert after.inference_count - before.inference_count == len(images)
    for stage in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        grown = getattr(after.inference_stats, stage).count - getattr(before.inference_stats, stage).count
        assert grown == 1, stage
    assert after.inference_stats.compute_infer.ns > before.inference_stats.compute_infer.ns
    assert [each.name for each in counted("")] == list(MODELS)


@pytest.mark.parametrize("compression", [None, "gzip", "deflate"])
def test_tritons_client_reads_digits(client, images, compression):
    result = client.infer("digits", [tensor_of(images)], request_id="mine", compression_algorithm=compression)

    np.testing.assert_array_equal(result.as_numpy("digit"), [1, 3, 9])
    np.testing.assert_array_equal(result.as_numpy("denoised"), images)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("mine", "digits", "1")
    assert response.parameters["denoiser_version"].string_param == "3"
    assert response.parameters["degraded"].bool_param is False
    assert len(response.raw_output_contents) == 3


@pytest.mark.parametrize(
    ("model", "version", "output"), [("denoiser", "3", "denoised"), ("classifier", "2", "probabilities")]
)
def test_single_models_by_version(client, images, model, version, output):
    result = client.infer(model, [tensor_of(images.reshape(3, 784))], model_version=version)

    assert [each.name for each in result.get_response().outputs] == [output]
    assert result.get_response().model_version == version
    assert len(result.as_numpy(output)) == 3


def test_outputs_and_parameters_are_heard(client, images):
    pixels = np.full((1, 28, 28, 1), 51, np.uint8)
    result = client.infer(
        "digits",
        [tensor_of(pixels, "UINT8")],
        outputs=[triton.InferRequestedOutput("denoised")],
        parameters={"denoise": "never"},
    )

    np.testing.assert_allclose(result.as_numpy("denoised"), 0.2)
    assert [each.name for each in result.get_response().outputs] == ["denoised"]
    assert "denoiser_version" not in result.get_response().parameters


def test_typed_contents_are_answered_with_typed_contents(channel, images):
    reply = infer(channel, typed(images))

    by_name = {output.name: output for output in reply.outputs}
    assert not reply.raw_output_contents
    assert list(by_name["digit"].contents.int64_contents) == [1, 3, 9]
    assert list(by_name["probabilities"].shape) == [3, 10]
    np.testing.assert_array_equal(by_name["denoised"].contents.fp32_contents, images.ravel())


def test_typed_uint8_is_scaled(channel):
    request = typed(np.zeros((1, 784), np.float32))
    request.inputs[0].datatype = "UINT8"
    request.inputs[0].contents.Clear()
    request.inputs[0].contents.uint_contents.extend([255] * 784)

    assert list(infer(channel, request).outputs[1].contents.int64_contents) == [9]


def test_raw_and_typed_numbers_are_the_same(client, channel, rng):
    images = rng.random((300, 28, 28, 1), np.float32)  # a message that a decoder process reads
    raw, contents = client.infer("classifier", [tensor_of(images)]), infer(channel, typed(images, "classifier"))

    np.testing.assert_array_equal(raw.as_numpy("probabilities").ravel(), contents.outputs[0].contents.fp32_contents)


def test_the_best_classes_in_the_place_of_all_scores(client, channel, images):
    best = [b"0.910000:1", b"0.910000:3", b"0.910000:9"]
    raw = client.infer(
        "digits", [tensor_of(images)], outputs=[triton.InferRequestedOutput("probabilities", class_count=1)]
    )
    request = typed(images)
    request.outputs.add(name="probabilities").parameters["classification"].int64_param = 1
    (output,) = infer(channel, request).outputs

    assert raw.as_numpy("probabilities").tolist() == [[label] for label in best]
    assert (output.datatype, list(output.shape), list(output.contents.bytes_contents)) == ("BYTES", [3, 1], best)


def wrong(**changes) -> theirs.ModelInferRequest:
    """A request whose input has these fields instead."""
    request = typed(np.zeros((1, 28, 28, 1), np.float32))
    for name, value in changes.items():
        if name == "shape":
            request.inputs[0].shape[:] = value
        else:
            setattr(request.inputs[0], name, value)
    return request


def with_more(**more) -> theirs.ModelInferRequest:
    request = typed(np.zeros((1, 28, 28, 1), np.float32))
    request.MergeFrom(theirs.ModelInferRequest(**more))
    return request


def uint8_of(value: int) -> theirs.ModelInferRequest:
    request = wrong(datatype="UINT8")
    request.inputs[0].contents.uint_contents.extend([value] * 784)
    return request


OUTPUT = theirs.ModelInferRequest.InferRequestedOutputTensor
ONE = theirs.InferParameter(int64_param=1)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (with_more(id="x" * 1001), "id has 1001 characters"),
        (theirs.ModelInferRequest(model_name="digits"), 'inputs is one tensor, "images", not 0'),
        (with_more(inputs=[theirs.ModelInferRequest.InferInputTensor()]), "not 2"),
        (wrong(name="image"), "no input is called 'image'"),
        (wrong(datatype="FP64"), "datatype 'FP64': images is FP32 or UINT8"),
        (wrong(shape=[1, 28, 28]), None),
        (wrong(shape=[2, 28, 28, 1]), "fp32_contents has 784 numbers; the shape makes 1568"),
        (wrong(shape=[-1, 28, 28, 1]), "it is a list of sizes"),
        (wrong(shape=[]), "it is a list of sizes"),
        (wrong(shape=[0, 784]), "n at least 1"),
        (wrong(datatype="UINT8"), "uint_contents has 0 numbers"),
        (uint8_of(256), "UINT8 contents up to 256"),
        (with_more(raw_input_contents=[b""]), "either contents or an entry of raw_input_contents"),
        (with_more(raw_input_contents=[b"", b""]), "raw_input_contents has 2 entries for one input"),
        (with_more(outputs=[OUTPUT(name="digit", parameters={"classification": ONE})]), "output digit has no classes"),
        (with_more(outputs=[OUTPUT(name="digit", parameters={"classes": ONE})]), "'classes' is not supported"),
        (with_more(outputs=[OUTPUT(name="scores")]), "no output is called 'scores'"),
        (with_more(outputs=[OUTPUT(name="digit"), OUTPUT(name="digit")]), "an output is asked for twice"),
        (with_more(parameters={"denoise": theirs.InferParameter(string_param="maybe")}), "denoise=maybe"),
        (with_more(parameters={"denoise": theirs.InferParameter()}), "parameter 'denoise' has no value"),
    ],
)
def test_what_cannot_be_read_is_invalid_argument(channel, request_, words):
    if words is None:
        assert infer(channel, request_).model_name == "digits"
        return
    with pytest.raises(grpc.RpcError) as failed:
        infer(channel, request_)

    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in failed.value.details()


def test_raw_contents_of_another_size_are_refused(channel):
    request = wrong()
    request.inputs[0].ClearField("contents")
    request.raw_input_contents.append(bytes(100))

    with pytest.raises(grpc.RpcError) as failed:
        infer(channel, request)

    assert "raw_input_contents has 100 bytes; the shape and datatype make 3136" in failed.value.details()


@pytest.mark.parametrize("value", [np.nan, np.inf, 2e6, 2.0])
def test_numbers_that_no_picture_holds_are_refused(client, value):
    with pytest.raises(InferenceServerException, match=r"finite|within|from 0 to 1") as failed:
        client.infer("digits", [tensor_of(np.full((1, 784), value, np.float32))])

    assert failed.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_what_is_no_message_is_refused(channel):
    for method in ("ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics", "ModelInfer"):
        with pytest.raises(grpc.RpcError) as failed:
            channel.unary_unary(SERVICE + method)(b"\xff" * 9, timeout=20)

        assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert failed.value.details() == f"the message is no {method}Request"


def test_models_and_versions_that_are_not_there(client, images):
    for ask in (
        lambda: client.get_model_metadata("other"),
        lambda: client.get_model_config("other"),
        lambda: client.get_inference_statistics("other"),
        lambda: client.is_model_ready("digits", "2"),
        lambda: client.infer("denoiser", [tensor_of(images)], model_version="9"),
    ):
        with pytest.raises(InferenceServerException, match=r"no model is called other|has no version") as failed:
            ask()

        assert failed.value.status() == "StatusCode.NOT_FOUND"


def test_methods_that_are_not_offered_are_unimplemented(client):
    with pytest.raises(InferenceServerException, match="Method not found") as failed:
        client.get_trace_settings("digits")

    assert failed.value.status() == "StatusCode.UNIMPLEMENTED"


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (ModelUnavailableError("classifier: no answer"), grpc.StatusCode.UNAVAILABLE),
        (ModelTimeoutError("classifier: no answer in 2 s"), grpc.StatusCode.DEADLINE_EXCEEDED),
    ],
)
def test_a_model_that_fails_says_so(failure, code, images):
    gateway = Gateway(GatewayConfig(), denoiser=fake_denoiser(), classifier=fake_classifier(failure=failure))
    with grpc_running(gateway) as port, triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        assert client.is_server_live()
        assert not client.is_server_ready()
        assert not client.is_model_ready("classifier")
        assert client.is_model_ready("denoiser")
        with pytest.raises(InferenceServerException, match=str(failure)) as failed:
            client.infer("digits", [tensor_of(images)])

    assert failed.value.status() == str(code)


def test_too_many_images_are_refused_as_over_http(images):
    gateway = Gateway(GatewayConfig(max_images=2), denoiser=fake_denoiser(), classifier=fake_classifier())
    with grpc_running(gateway) as port, triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        with pytest.raises(InferenceServerException, match="3 images; at most 2") as failed:
            client.infer("digits", [tensor_of(images)])

    assert failed.value.status() == "StatusCode.INVALID_ARGUMENT"


def test_the_documented_client_runs(port, capsys):
    (code,) = re.findall(r"```python\n([^`]+tritonclient\.grpc[^`]+)```", (ROOT / "docs/API.md").read_text())

    exec(code.replace("127.0.0.1:8081", f"127.0.0.1:{port}"), {})

    assert capsys.readouterr().out.startswith("[0] [[")


def test_an_answer_is_no_larger_than_over_http(client):
    """43 MB of tensors are refused before anything is computed."""
    pixels = np.zeros((11_000, 784), np.uint8)

    with pytest.raises(InferenceServerException, match="fit: send fewer") as failed:
        client.infer("denoiser", [tensor_of(pixels, "UINT8")])

    assert failed.value.status() == "StatusCode.INVALID_ARGUMENT"
