"""Model `numbers` under /v2: what tritonclient sends and reads, and what is refused."""

import base64
import json

import numpy as np
import pytest
import tritonclient.http as triton
from tritonclient.utils import InferenceServerException

from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from services.gateway.limits import Limits
from tests.support.bars import bar_classifier, png
from tests.support.fakes import fake_denoiser
from tests.support.hosts import running

INFER = "/v2/models/numbers/infer"
PATIENT = {"request-timeout-ms": "30000"}  # starting a decoder process takes a while


@pytest.fixture(scope="module")
def host():
    gateway = Gateway(GatewayConfig(), denoiser=fake_denoiser(version=3), classifier=bar_classifier(version=2))
    with running("http", gateway) as host:
        yield host


def infer(host, *numbers: str, **more) -> triton.InferResult:
    """By tritonclient, one picture for each number."""
    files = np.array([png(number) for number in numbers], np.object_)
    tensor = triton.InferInput("pictures", files.shape, "BYTES")
    tensor.set_data_from_numpy(files)
    with triton.InferenceServerClient(f"127.0.0.1:{host.port}") as client:
        return client.infer("numbers", [tensor], headers=dict(PATIENT), **more)  # it adds to them


@pytest.mark.parametrize("binary", [True, False])
def test_triton_client_reads_numbers(host, binary):
    names = ("number", "confidence", "accepted")
    wanted = [triton.InferRequestedOutput(name, binary_data=binary) for name in names]

    result = infer(host, "007", "40718", outputs=wanted, request_id="two")

    assert result.get_response()["id"] == "two"
    numbers = result.as_numpy("number").tolist()
    assert [text.decode() if binary else text for text in numbers] == ["007", "40718"]
    assert result.as_numpy("confidence").dtype == np.float32
    assert (result.as_numpy("confidence") > 0.8).all()
    assert result.as_numpy("accepted").tolist() == [True, True]
    assert result.get_response()["parameters"] == {"denoiser_version": 3, "classifier_version": 2}


def test_parameters_are_the_options_of_read(host):
    unsure = infer(host, "40718", parameters={"min_confidence": 1.0})
    other_length = infer(host, "40718", parameters={"length": "2"})

    assert unsure.as_numpy("accepted").tolist() == [False]
    assert other_length.as_numpy("number").tolist() != [b"40718"]


def body(**changes) -> bytes:
    data = [base64.b64encode(png("12")).decode()]
    tensor = {"name": "pictures", "shape": [1], "datatype": "BYTES", "data": data, **changes}
    return json.dumps({"inputs": [tensor]}).encode()


def ask(host, **changes) -> dict[str, list]:
    reply = host.ask(INFER, body=body(**changes), headers=PATIENT)
    assert reply.status == 200, reply.body
    return {output["name"]: output["data"] for output in json.loads(reply.body)["outputs"]}


def test_a_picture_in_json_is_base64(host):
    outputs = ask(host)

    assert (outputs["number"], outputs["accepted"]) == (["12"], [True])


def test_a_picture_without_a_number_is_an_empty_one(host):
    blank = base64.b64encode(png("", height=60)).decode()

    assert ask(host, data=[blank]) == {"number": [""], "confidence": [0.0], "accepted": [False]}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "images"}, "pictures of BYTES"),
        ({"datatype": "FP32"}, "pictures of BYTES"),
        ({"shape": [2]}, "list of the 2 pictures"),
        ({"shape": [0]}, "n at least 1"),
        ({"shape": [1, 2]}, "n at least 1"),
        ({"data": ["no base64!"]}, "not base64"),
        ({"data": [7]}, "not a base64 string"),
        ({"parameters": {"binary_data_size": 3}}, "binary_data_size is 3"),
    ],
)
def test_a_wrong_tensor_is_named(host, changes, message):
    reply = host.ask(INFER, body=body(**changes), headers=PATIENT)

    assert 400 <= reply.status < 500
    assert message in json.loads(reply.body)["error"]


@pytest.mark.parametrize("tensor", [b"\x05\0\0\0abc", b"\x01\0\0\0a\x01\0\0\0b", b"\x01\0"])
def test_a_binary_tensor_that_does_not_hold_its_elements_is_refused(host, tensor):
    entry = {"name": "pictures", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(tensor)}}
    header = json.dumps({"inputs": [entry]}).encode()

    headers = PATIENT | {"inference-header-content-length": str(len(header))}
    reply = host.ask(INFER, body=header + tensor, headers=headers)
    assert 400 <= reply.status < 500
    assert "does not hold the 1 pictures" in json.loads(reply.body)["error"]


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_the_model_describes_itself(host, version):
    described = json.loads(host.ask(f"/v2/models/numbers{version}", method="GET").body)
    configured = json.loads(host.ask(f"/v2/models/numbers{version}/config", method="GET").body)

    assert described["versions"] == ["1"]
    assert described["inputs"] == [{"name": "pictures", "datatype": "BYTES", "shape": [-1, 1]}]
    assert [output["name"] for output in described["outputs"]] == ["number", "confidence", "accepted"]
    assert configured["input"] == [{"name": "pictures", "data_type": "TYPE_STRING", "dims": [1]}]
    assert [output["data_type"] for output in configured["output"]] == ["TYPE_STRING", "TYPE_FP32", "TYPE_BOOL"]
    assert configured["max_batch_size"] == Limits().max_lines


def test_calls_are_counted(host):
    def counted() -> dict:
        return json.loads(host.ask("/v2/models/numbers/stats", method="GET").body)["model_stats"][0]

    before = counted()
    infer(host, "12", "3")
    after = counted()

    assert after["inference_count"] - before["inference_count"] == 2
    assert after["execution_count"] - before["execution_count"] == 1


def test_another_version_is_not_there(host):
    assert infer(host, "12", model_version="1").as_numpy("number").tolist() == [b"12"]
    with pytest.raises(InferenceServerException, match="model numbers has no version 2; there is 1"):
        infer(host, "12", model_version="2")


def test_parameters_for_triton_itself_mean_nothing_and_others_are_refused(host):
    tritons = {"priority": 1, "timeout": 10**6, "sequence_id": 7, "sequence_start": True, "sequence_end": True}

    assert infer(host, "12", **tritons).as_numpy("number").tolist() == [b"12"]
    with pytest.raises(InferenceServerException, match="no parameter is called 'lenght'"):
        infer(host, "12", parameters={"lenght": 2})
