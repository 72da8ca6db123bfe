"""/v2 and /v1/models through the whole application, with models in this process."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import numpy as np
import orjson
import pytest
from flask.testing import FlaskClient

from services.core.errors import ModelTimeoutError, ModelUnavailableError
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from services.gateway.limits import Limits
from services.gateway.messages.oip import JSON_NUMBER_BYTES
from tests.support.fakes import fake_classifier, fake_denoiser
from tests.support.hosts import flask_client

LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def client_of() -> Iterator[Callable[..., FlaskClient]]:
    """Makes clients of a gateway with fake models, of which a test may give others."""
    with ExitStack() as ends:

        def made(config: GatewayConfig | None = None, **models) -> FlaskClient:
            models = {"denoiser": fake_denoiser(version=3), "classifier": fake_classifier(version=2), **models}
            config = config or GatewayConfig(request_timeout_ms=20_000)
            return ends.enter_context(flask_client(Gateway(config, **models)))

        yield made


@pytest.fixture(scope="module")
def client(client_of):
    return client_of()


@pytest.fixture
def images() -> np.ndarray:
    """Of brightness 0.15, 0.35 and 0.95: the fake classifier reads 1, 3 and 9."""
    return np.float32([0.15, 0.35, 0.95])[:, None, None, None] * np.ones((1, 28, 28, 1), np.float32)


def infer(client, images: np.ndarray, model: str = "digits", **more):
    tensor = {"name": "images", "shape": list(images.shape), "datatype": "FP32", "data": images.ravel().tolist()}
    return client.post(f"/v2/models/{model}/infer", json={"inputs": [tensor], **more})


def assert_problem(response, status: int, message: str) -> None:
    """What clients of these protocols rely on: the code, and the text under "error"."""
    assert response.status_code == status
    assert message in response.json["error"]
    assert response.json["error"] == response.json["detail"]
    assert response.content_type == "application/problem+json"


def test_server_and_models_describe_themselves(client):
    assert client.get("/v2").json["extensions"] == [
        "binary_tensor_data",
        "classification",
        "model_configuration",
        "statistics",
    ]
    assert client.get("/v2/health/live").json == {"live": True}
    assert client.get("/v2/health/ready").json == {"ready": True}
    versions = {
        name: client.get(f"/v2/models/{name}").json["versions"] for name in ("digits", "denoiser", "classifier")
    }
    assert versions == {"digits": ["1"], "denoiser": ["3"], "classifier": ["2"]}


@pytest.mark.parametrize(("model", "version"), [("digits", "1"), ("denoiser", "3"), ("classifier", "2")])
def test_a_version_may_be_named(client, model, version, images):
    place = f"/v2/models/{model}/versions/{version}"
    tensor = {"name": "images", "shape": [3, 784], "datatype": "FP32", "data": images.ravel().tolist()}

    assert client.get(f"{place}/ready").json == {"name": model, "ready": True}
    assert client.get(place).json["name"] == model
    assert client.post(f"{place}/infer", json={"inputs": [tensor]}).json["model_version"] == version


def test_the_outputs_are_those_of_the_metadata(client, images):
    for model in ("digits", "denoiser", "classifier"):
        described = client.get(f"/v2/models/{model}").json["outputs"]
        made = infer(client, images, model).json["outputs"]

        assert [(o["name"], o["datatype"]) for o in made] == [(o["name"], o["datatype"]) for o in described]
        for output, description in zip(made, described, strict=True):
            assert output["shape"] == [3, *description["shape"][1:]]
            assert len(output["data"]) == np.prod(output["shape"])


def test_the_chain_reads_digits(client, images):
    reply = infer(client, images, id="mine", outputs=[{"name": "digit"}]).json

    assert reply["outputs"] == [{"name": "digit", "shape": [3], "datatype": "INT64", "data": [1, 3, 9]}]
    assert reply["id"] == "mine"
    assert reply["parameters"] == {"denoiser_version": "3", "classifier_version": "2", "degraded": False}


def test_the_chain_may_be_asked_not_to_denoise(client, images):
    reply = infer(client, images, parameters={"denoise": "never"}).json

    assert "denoiser_version" not in reply["parameters"]
    denoised = next(output for output in reply["outputs"] if output["name"] == "denoised")
    np.testing.assert_allclose(denoised["data"], images.ravel())


@pytest.mark.parametrize("encoding", [None, "gzip", "deflate"])
def test_binary_tensors_both_ways_and_compressed(client, encoding, images):
    tensor = {"name": "images", "shape": [3, 28, 28, 1], "datatype": "FP32"}
    tensor["parameters"] = {"binary_data_size": images.nbytes}
    header = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    body, headers = header + images.tobytes(), {LENGTH: str(len(header)), "Accept-Encoding": "gzip"}
    if encoding:
        body = {"gzip": gzip.compress, "deflate": zlib.compress}[encoding](body)
        headers["Content-Encoding"] = encoding

    response = client.post("/v2/models/digits/infer", data=body, headers=headers)

    assert response.headers["Content-Encoding"] == "gzip"
    reply = gzip.decompress(response.data)
    length = int(response.headers[LENGTH])
    sizes = [output["parameters"]["binary_data_size"] for output in json.loads(reply[:length])["outputs"]]
    assert sizes == [120, 24, images.nbytes]
    np.testing.assert_array_equal(np.frombuffer(reply[-images.nbytes :], "<f4"), images.ravel())


def test_small_replies_are_not_compressed(client, images):
    tensor = {"name": "images", "shape": [3, 784], "datatype": "FP32", "data": images.ravel().tolist()}
    response = client.post(
        "/v2/models/classifier/infer", json={"inputs": [tensor]}, headers={"Accept-Encoding": "gzip"}
    )

    assert "Content-Encoding" not in response.headers


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v2/models/other", 404, "no model is called other; there are digits, denoiser, classifier"),
        ("/v2/models/digits/versions/2", 404, "model digits has no version 2; there is 1"),
        ("/v2/models/denoiser/versions/x/ready", 404, "no version x"),
        ("/v2/nothing", 404, ""),
        ("/v1/models/other", 404, ""),
        ("/v1/models/digits/versions/2", 404, "Could not find version 2 of model digits"),
        ("/v1/models/digits/versions/2/metadata", 404, "Could not find version 2"),
        ("/v2/models/digits/infer", 405, ""),
    ],
)
def test_what_is_not_there_is_said_under_error(client, path, status, message):
    assert_problem(client.get(path), status, message)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"outputs": [{"name": "scores"}]}, "no output is called 'scores'; there are probabilities, digit, denoised"),
        ({"parameters": {"denoise": "maybe"}}, "denoise=maybe"),
        ({"inputs": []}, "inputs is a list of one tensor"),
    ],
)
def test_what_cannot_be_read_is_400_with_error(client, more, message, images):
    assert_problem(infer(client, images, **more), 400, message)


def test_many_images_reach_a_single_model_in_slices(images, client_of):
    denoiser = fake_denoiser()
    many = np.tile(images, (200, 1, 1, 1))

    reply = infer(client_of(denoiser=denoiser), many, "denoiser").json

    assert denoiser.sizes == [256, 256, 88]
    np.testing.assert_allclose(reply["outputs"][0]["data"], many.ravel())


def test_the_chain_wants_images_from_0_to_1(client, images):
    assert_problem(infer(client, 2 * images), 400, "from 0 to 1, not from 0.3 to 1.9")
    assert infer(client, 2 * images, "denoiser").status_code == 200


def test_too_many_images_are_413(images, client_of):
    client = client_of(GatewayConfig(max_images=2, request_timeout_ms=20_000))

    assert_problem(infer(client, images), 413, "3 images; at most 2")
    assert_problem(client.post("/v1/models/digits:predict", json={"instances": [[0] * 784] * 3}), 413, "3 images")


def binary_infer(client, count: int, model: str, *, datatype: str = "UINT8", **more):
    """Black images, as a binary tensor."""
    size = 784 * count * {"UINT8": 1, "FP32": 4}[datatype]
    tensor = {"name": "images", "shape": [count, 784], "datatype": datatype, "parameters": {"binary_data_size": size}}
    header = json.dumps({"inputs": [tensor], **more}).encode()
    return client.post(f"/v2/models/{model}/infer", data=header + bytes(size), headers={LENGTH: str(len(header))})


@pytest.mark.parametrize(
    ("count", "model", "more", "status"),
    [
        (3000, "digits", {}, 413),  # 38 MB of JSON
        (11_000, "denoiser", {"parameters": {"binary_data_output": True}}, 413),
        (3000, "digits", {"parameters": {"binary_data_output": True}}, 200),
        (11_000, "digits", {"outputs": [{"name": "digit"}]}, 200),
        (2000, "denoiser", {}, 200),
    ],
)
def test_an_answer_is_no_larger_than_any_may_be(client_of, count, model, more, status):
    """20,000 images used to make 190 MB of JSON."""
    denoiser, classifier = fake_denoiser(), fake_classifier()
    response = binary_infer(client_of(denoiser=denoiser, classifier=classifier), count, model, **more)

    assert response.status_code == status
    if status == 413:
        assert_problem(response, 413, "send fewer, or ask for fewer outputs or for binary ones")
        assert not denoiser.sizes + classifier.sizes  # refused before anything is computed
    else:
        assert len(response.data) <= Limits().max_answer_bytes


def test_no_number_is_longer_in_json_than_the_bound_takes_it_for(rng):
    """Every exponent of a float32, the longest of random mantissas."""
    bits = rng.integers(0, 2**32, 200_000, dtype=np.uint32)
    numbers = bits.view(np.float32)
    numbers = numbers[np.isfinite(numbers)]
    longest = max(
        len(orjson.dumps(part, option=orjson.OPT_SERIALIZE_NUMPY)) for part in numbers.reshape(-1, 1)[:50_000]
    )

    assert longest - len("[]") + len(",") <= JSON_NUMBER_BYTES


def test_an_id_comes_back_and_is_bounded(client, images):
    assert infer(client, images, id="x" * 1000).json["id"] == "x" * 1000
    assert_problem(infer(client, images, id="x" * 1001), 400, "id has 1001 characters")


@pytest.mark.parametrize(
    "path", ["/v2/health/ready", "/v2/models/digits/ready", "/v2/models/denoiser/ready", "/v1/models/digits"]
)
def test_a_model_that_is_away_is_503(path, client_of):
    client = client_of(denoiser=fake_denoiser(failure=ModelUnavailableError("denoiser: no answer")))

    assert_problem(client.get(path), 503, "no answer")


def test_a_model_that_fails_says_so_under_error(images, client_of):
    client = client_of(classifier=fake_classifier(failure=ModelTimeoutError("classifier: no answer in 2 s")))

    assert_problem(infer(client, images), 504, "no answer in 2 s")
    assert_problem(infer(client, images, "classifier"), 504, "no answer in 2 s")
    assert infer(client, images, "denoiser").status_code == 200


@pytest.mark.parametrize("place", ["/v1/models/digits:predict", "/v1/models/digits/versions/1:predict"])
@pytest.mark.parametrize("shape", [(3, 28, 28, 1), (3, 28, 28), (3, 784)])
def test_predict_by_row_and_by_column(client, place, shape, images):
    pictures = images.reshape(shape).tolist()
    by_row = client.post(place, json={"instances": pictures}).json
    named = client.post(place, json={"instances": [{"images": one} for one in pictures], "signature_name": ""}).json
    by_column = client.post(place, json={"inputs": pictures, "signature_name": "serving_default"}).json
    named_column = client.post(place, json={"inputs": {"images": pictures}}).json

    assert by_row == named
    assert [row["digit"] for row in by_row["predictions"]] == [1, 3, 9]
    assert by_column == named_column
    assert by_column["outputs"]["digit"] == [1, 3, 9]
    assert by_column["outputs"]["probabilities"] == [row["probabilities"] for row in by_row["predictions"]]


def test_status_and_metadata_are_tensorflow_servings(client):
    assert client.get("/v1/models/digits").json == {
        "model_version_status": [
            {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
        ],
        "ready": True,  # for KServe's V1 clients
    }
    signature = client.get("/v1/models/digits/metadata").json["metadata"]["signature_def"]["signature_def"]
    tensor = signature["serving_default"]["inputs"]["images"]
    assert tensor["dtype"] == "DT_FLOAT"
    assert [dim["size"] for dim in tensor["tensor_shape"]["dim"]] == ["-1", "28", "28", "1"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"[]", "JSON object"),
        (b"{}", 'either "instances" or "inputs"'),
        (b'{"instances": [1], "inputs": [1]}', 'either "instances" or "inputs"'),
        (b'{"instances": [], "x": 1}', "no key is called 'x'"),
        (b'{"instances": []}', '"instances" is a list of at least one'),
        (b'{"inputs": 3}', '"inputs" is a list of at least one'),
        (b'{"inputs": {"image": []}}', 'the one input, "images"'),
        (
            b'{"instances": [3], "signature_name": "other"}',
            'Serving signature name: "other" not found in signature def',
        ),
        (b'{"instances": [[1, 2]]}', "image 1 of 1"),
        (json.dumps({"instances": [[2] * 784]}).encode(), "between 0 and 1"),
        (b"[" * 50, "nested 50 deep"),
    ],
)
def test_what_predict_cannot_read_is_400(client, body, message):
    assert_problem(client.post("/v1/models/digits:predict", data=body), 400, message)


def test_version_0_is_the_latest_as_ovmsclient_asks_by_default(client, images):
    for path in ("", "/metadata"):
        assert client.get(f"/v1/models/digits/versions/0{path}").status_code == 200
    answer = client.post("/v1/models/digits/versions/0:predict", json={"instances": images.tolist()})

    assert [row["digit"] for row in answer.get_json()["predictions"]] == [1, 3, 9]


def test_the_configuration_is_the_metadata_without_the_batch(client):
    for model in ("digits", "denoiser", "classifier"):
        config, metadata = client.get(f"/v2/models/{model}/config").json, client.get(f"/v2/models/{model}").json

        assert (config["name"], config["platform"]) == (model, metadata["platform"])
        assert config["max_batch_size"] == GatewayConfig().max_images
        for tensors, described in ((config["input"], metadata["inputs"]), (config["output"], metadata["outputs"])):
            assert [(t["name"], t["data_type"], t.get("reshape", {"shape": t["dims"]})["shape"]) for t in tensors] == [
                (t["name"], f"TYPE_{t['datatype']}", t["shape"][1:]) for t in described
            ]
            assert all(t["dims"] for t in tensors)  # Triton has no tensor of no dimension


def test_calls_are_counted_for_each_model(client_of, images):
    client = client_of()
    for _ in range(2):
        infer(client, images, "denoiser")
    infer(client, images, "denoiser", outputs=[{"name": "x"}])
    infer(client, images[:1])
    counts = {each["name"]: each for each in client.get("/v2/models/stats").json["model_stats"]}
    (denoiser,) = client.get("/v2/models/denoiser/versions/3/stats").json["model_stats"]

    counted = [(each["inference_count"], each["execution_count"]) for each in counts.values()]
    assert counted == [(1, 1), (6, 2), (0, 0), (0, 0)]
    assert denoiser == counts["denoiser"]
    assert (denoiser["version"], denoiser["inference_stats"]["fail"]["count"]) == ("3", 1)
    success = denoiser["inference_stats"]["success"]
    assert success == denoiser["inference_stats"]["compute_infer"]
    assert (success["count"], success["ns"] > 0) == (2, True)


@pytest.mark.parametrize("model", ["digits", "classifier"])
def test_the_best_classes_in_the_place_of_all_scores(client, images, model):
    wanted = {"name": "probabilities", "parameters": {"classification": 2}}
    (output,) = infer(client, images, model, outputs=[wanted]).json["outputs"]

    assert (output["shape"], output["datatype"]) == ([3, 2], "BYTES")
    best = ["0.910000:1", "0.010000:0", "0.910000:3", "0.010000:0", "0.910000:9", "0.010000:0"]
    assert output["data"] == best


def test_there_are_no_more_classes_than_there_are(client, images):
    wanted = {"name": "probabilities", "parameters": {"classification": 99, "binary_data": True}}
    response = infer(client, images[:1], outputs=[wanted])
    length = int(response.headers[LENGTH])
    (output,) = json.loads(response.data[:length])["outputs"]

    assert output["shape"] == [1, 10]
    assert output["parameters"]["binary_data_size"] == len(response.data) - length
    assert response.data[length : length + 14] == b"\x0a\x00\x00\x000.910000:1"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ({"name": "digit", "parameters": {"classification": 1}}, "output digit has no classes"),
        ({"name": "denoised", "parameters": {"classification": 1}}, "output denoised has no classes"),
        ({"name": "probabilities", "parameters": {"classification": 0}}, "0 is not a number of classes"),
        ({"name": "probabilities", "parameters": {"classification": True}}, "True is not a number of classes"),
        ({"name": "probabilities", "parameters": {"classes": 1}}, "output parameter 'classes' is not supported"),
    ],
)
def test_classes_that_cannot_be_told_are_400(client, images, output, message):
    assert_problem(infer(client, images, outputs=[output]), 400, message)
