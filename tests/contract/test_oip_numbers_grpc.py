"""Model `numbers` over gRPC: what tritonclient sends and reads, typed contents, and what is refused."""

from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2 as theirs
from tritonclient.utils import InferenceServerException

from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from tests.support.bars import bar_classifier, png
from tests.support.fakes import fake_denoiser
from tests.support.hosts import grpc_running

INFER = "/inference.GRPCInferenceService/ModelInfer"
CALL_S = 30.0  # starting a decoder process takes a while


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    gateway = Gateway(GatewayConfig(), denoiser=fake_denoiser(version=3), classifier=bar_classifier(version=2))
    with grpc_running(gateway) as port:
        yield port


@pytest.fixture(scope="module")
def client(port) -> Iterator[triton.InferenceServerClient]:
    with triton.InferenceServerClient(f"127.0.0.1:{port}") as client:
        yield client


def infer(client, files: list[bytes], **more) -> triton.InferResult:
    """Raw contents, as tritonclient sends them."""
    pictures = np.array(files, np.object_)
    tensor = triton.InferInput("pictures", list(pictures.shape), "BYTES")
    tensor.set_data_from_numpy(pictures)
    return client.infer("numbers", [tensor], client_timeout=CALL_S, **more)


def ask(port: int, request: theirs.ModelInferRequest) -> theirs.ModelInferResponse:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = channel.unary_unary(
            INFER,
            request_serializer=theirs.ModelInferRequest.SerializeToString,
            response_deserializer=theirs.ModelInferResponse.FromString,
        )
        return method(request, timeout=CALL_S)


def typed(*files: bytes, **changes) -> theirs.ModelInferRequest:
    tensor = {"name": "pictures", "datatype": "BYTES", "shape": [len(files)], **changes}
    request = theirs.ModelInferRequest(model_name="numbers", inputs=[tensor])
    request.inputs[0].contents.bytes_contents.extend(files)
    return request


@pytest.mark.parametrize("numbers", [["40718"], ["007", "40718", "3"]], ids=["one", "in a decoder process"])
def test_tritons_client_reads_numbers(client, numbers):
    result = infer(client, [png(number) for number in numbers], request_id="mine")

    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("mine", "numbers", "1")
    assert [text.decode() for text in result.as_numpy("number")] == numbers
    assert (result.as_numpy("confidence") > 0.8).all()
    assert result.as_numpy("accepted").tolist() == [True] * len(numbers)
    assert response.parameters["denoiser_version"].string_param == "3"
    assert len(response.raw_output_contents) == 3


def test_typed_contents_are_answered_with_typed_contents(port):
    reply = ask(port, typed(png("12"), png("", height=60), shape=[2, 1]))

    by_name = {output.name: output for output in reply.outputs}
    assert not reply.raw_output_contents
    assert list(by_name["number"].contents.bytes_contents) == [b"12", b""]
    assert list(by_name["accepted"].contents.bool_contents) == [True, False]
    assert by_name["confidence"].contents.fp32_contents[0] > 0.8
    assert list(by_name["number"].shape) == [2]


def test_wishes_are_heard(client):
    result = infer(
        client,
        [png("40718")],
        outputs=[triton.InferRequestedOutput("accepted")],
        parameters={"min_confidence": 1.0, "length": "3-8"},
        model_version="1",
        priority=1,
    )

    assert [output.name for output in result.get_response().outputs] == ["accepted"]
    assert result.as_numpy("accepted").tolist() == [False]


ONE = theirs.InferParameter(int64_param=1)
OUTPUT = theirs.ModelInferRequest.InferRequestedOutputTensor


def with_more(**more) -> theirs.ModelInferRequest:
    request = typed(png("1"))
    request.MergeFrom(theirs.ModelInferRequest(**more))
    return request


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (theirs.ModelInferRequest(model_name="numbers"), 'inputs is one tensor, "pictures", not 0'),
        (typed(png("1"), name="images"), "pictures of BYTES"),
        (typed(png("1"), datatype="FP32"), "pictures of BYTES"),
        (typed(png("1"), shape=[2]), "bytes_contents has 1 pictures; the shape makes 2"),
        (typed(png("1"), shape=[1, 2]), "n at least 1"),
        (typed(b"no picture"), "not a PNG"),
        (with_more(id="x" * 1001), "id has 1001 characters"),
        (with_more(raw_input_contents=[b""]), "either contents or an entry of raw_input_contents"),
        (with_more(raw_input_contents=[b"", b""]), "raw_input_contents has 2 entries for one input"),
        (with_more(outputs=[OUTPUT(name="digit")]), "no output is called 'digit'"),
        (with_more(outputs=[OUTPUT(name="number", parameters={"classification": ONE})]), "number has no classes"),
        (with_more(parameters={"lenght": ONE}), "no parameter is called 'lenght'"),
        (with_more(parameters={"length": theirs.InferParameter(int64_param=99)}), "length=99"),
    ],
)
def test_what_cannot_be_read_is_invalid_argument(port, request_, words):
    with pytest.raises(grpc.RpcError) as failed:
        ask(port, request_)

    assert failed.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert words in failed.value.details()


@pytest.mark.parametrize("tensor", [b"\x05\0\0\0abc", b"\x01\0\0\0a\x01\0\0\0b", b"\x01\0"])
def test_raw_contents_that_do_not_hold_their_elements_are_refused(port, tensor):
    request = typed(b"")
    request.inputs[0].ClearField("contents")
    request.raw_input_contents.append(tensor)

    with pytest.raises(grpc.RpcError) as failed:
        ask(port, request)

    assert "does not hold the 1 pictures" in failed.value.details()


def test_another_version_is_not_found(client):
    with pytest.raises(InferenceServerException, match="model numbers has no version 2") as failed:
        infer(client, [png("1")], model_version="2")

    assert failed.value.status() == "StatusCode.NOT_FOUND"
