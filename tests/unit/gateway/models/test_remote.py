"""RemoteModel against a server that says exactly what a test wants it to."""

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import numpy as np
import pytest

from services.core import errors
from services.core.tensors import from_proto, to_proto
from services.gateway.deadlines import Deadline
from services.gateway.models.remote import Prediction, RemoteModel
from services.gateway.models.transport import CallContext
from services.pb import tfserving_pb2 as pb

IMAGES = np.linspace(0, 1, 3 * 784, dtype=np.float32).reshape(3, 28, 28, 1)
SCORES = np.linspace(0, 1, 30, dtype=np.float32).reshape(3, 10)


def response(array: np.ndarray = SCORES, *, name: str = "probabilities", version: int = 4) -> pb.PredictResponse:
    message = pb.PredictResponse()
    message.outputs[name].CopyFrom(to_proto(array))
    message.model_spec.version.value = version
    return message


def as_values(array: np.ndarray) -> pb.PredictResponse:
    """TensorFlow Serving's default encoding."""
    message = response(array)
    tensor = message.outputs["probabilities"]
    tensor.ClearField("tensor_content")
    tensor.float_val.extend(array.ravel().tolist())
    return message


class Answering:
    """A server of both services, made from one function of (request bytes, context) -> answer bytes."""

    def __init__(self, answer: Callable) -> None:
        self.answer = answer
        self.requests: list[bytes] = []
        self.metadata: list[tuple] = []

    async def handle(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        self.requests.append(request)
        self.metadata.append(tuple(context.invocation_metadata()))
        answer = self.answer(len(self.requests))
        if isinstance(answer, grpc.StatusCode):
            await context.abort(answer, "the reason")
        if isinstance(answer, float):
            await asyncio.sleep(answer)
            return b""
        return answer if isinstance(answer, bytes) else answer.SerializeToString()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        handler = grpc.unary_unary_rpc_method_handler(self.handle)
        return [
            grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", {"Predict": handler}),
            grpc.method_handlers_generic_handler("tensorflow.serving.ModelService", {"GetModelStatus": handler}),
        ]


async def served(server: Answering, use: Callable, **settings: str) -> object:
    """The outcome of `use(model)` while `server` runs on a free port."""
    backend = grpc.aio.server()
    backend.add_generic_rpc_handlers(server.handlers())
    port = backend.add_insecure_port("127.0.0.1:0")
    await backend.start()
    answers = {"output": "probabilities", "output_shape": (10,)}
    model = RemoteModel(f"127.0.0.1:{port}", name="classifier", timeout_s=1.0, **answers, **settings)
    try:
        return await use(model)
    finally:
        await model.close()
        await backend.stop(None)


def predict(server: Answering, *, budget_s: float = 5.0, metadata: tuple = ()) -> Prediction:
    return asyncio.run(
        served(server, lambda model: model.predict(IMAGES, call=CallContext(Deadline.after(budget_s), metadata)))
    )


def test_the_request_names_the_model_and_carries_the_images():
    server = Answering(lambda _: response())
    predict(server, metadata=(("x-request-id", "abc"),))

    request = pb.PredictRequest.FromString(server.requests[0])
    assert request.model_spec.name == "classifier"
    assert np.array_equal(from_proto(request.inputs["images"]), IMAGES)
    assert ("x-request-id", "abc") in [tuple(pair) for pair in server.metadata[0]]


@pytest.mark.parametrize("label", ["", "canary"])
def test_a_label_of_the_settings_is_asked_for_and_none_means_the_newest(label):
    server = Answering(lambda _: response())
    asyncio.run(served(server, lambda model: model.predict(IMAGES, call=CallContext(Deadline.after(5))), label=label))

    spec = pb.PredictRequest.FromString(server.requests[0]).model_spec
    assert spec.WhichOneof("version_choice") == ("version_label" if label else None)
    assert spec.version_label == label


@pytest.mark.parametrize("encode", [response, as_values])
def test_both_encodings_of_an_output_are_read(encode):
    prediction = predict(Answering(lambda _: encode(SCORES)))

    assert np.array_equal(prediction.array, SCORES)
    assert prediction.version == 4


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.NOT_FOUND, errors.ModelNotFoundError),
        (grpc.StatusCode.INVALID_ARGUMENT, errors.ModelResponseError),
        (grpc.StatusCode.INTERNAL, errors.ModelResponseError),
    ],
)
def test_a_status_becomes_an_error_of_our_own_without_a_retry(code, error):
    server = Answering(lambda _: code)

    with pytest.raises(error, match=code.name) as caught:
        predict(server)
    assert len(server.requests) == 1
    assert str(caught.value.__cause__) == "the reason"  # for the log; callers do not get the server's own words


@pytest.mark.parametrize("name", ["UNAVAILABLE", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "CANCELLED"])
def test_a_call_that_no_model_has_run_is_tried_again(name):
    server = Answering(lambda attempt: grpc.StatusCode[name] if attempt < 5 else response())

    assert predict(server).version == 4
    assert len(server.requests) == 5


@pytest.mark.parametrize("name", ["RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"])
def test_a_server_that_refuses_for_good_is_model_refused_and_says_its_code(name):
    with pytest.raises(errors.ModelRefusedError, match=rf"^classifier refused the call \({name}\)$"):
        predict(Answering(lambda _: grpc.StatusCode[name]))


def test_a_server_that_cancels_every_call_cannot_be_reached():
    """So one does that ends; with no other to ask it is a 503, not a 502 that blames the model."""
    with pytest.raises(errors.ModelUnavailableError, match="classifier cannot be reached"):
        predict(Answering(lambda _: grpc.StatusCode.CANCELLED))


def test_refusals_are_tried_again_within_the_deadline_only():
    started = time.monotonic()
    with pytest.raises(errors.ModelError):
        predict(Answering(lambda _: grpc.StatusCode.RESOURCE_EXHAUSTED), budget_s=0.05)

    assert time.monotonic() - started < 0.5


def test_a_call_refused_by_a_full_server_goes_to_the_next_one():
    """The first server's threads are all taken for the whole test, as TensorFlow Serving's can be."""
    arrived, released = threading.Event(), threading.Event()
    requests: list[str] = []

    def serving(name: str, room: int) -> tuple[grpc.Server, int]:
        def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
            if request == b"occupy":
                arrived.set()
                released.wait(20)
                return b""
            requests.append(name)
            return response().SerializeToString()

        server = grpc.server(ThreadPoolExecutor(2), maximum_concurrent_rpcs=room)  # beyond it: RESOURCE_EXHAUSTED
        handlers = {"Predict": grpc.unary_unary_rpc_method_handler(answer)}
        server.add_generic_rpc_handlers(
            [grpc.method_handlers_generic_handler("tensorflow.serving.PredictionService", handlers)]
        )
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        return server, port

    (full, full_port), (other, other_port) = serving("full", 1), serving("other", 50)

    async def predict_often() -> list[Prediction]:
        model = RemoteModel(
            f"ipv4:127.0.0.1:{full_port},127.0.0.1:{other_port}",
            name="classifier", output="probabilities", output_shape=(10,), timeout_s=5.0,
        )  # fmt: skip
        try:
            return [await model.predict(IMAGES, call=CallContext(Deadline.after(5))) for _ in range(8)]
        finally:
            await model.close()

    try:
        with grpc.insecure_channel(f"127.0.0.1:{full_port}") as channel:
            occupied = channel.unary_unary("/tensorflow.serving.PredictionService/Predict").future(b"occupy")
            assert arrived.wait(5)
            with pytest.raises(grpc.RpcError) as refused:
                _until_refused(channel)
            answers = asyncio.run(predict_often())
            released.set()
            occupied.result(timeout=5)
    finally:
        released.set()
        full.stop(None)
        other.stop(None)

    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert [answer.version for answer in answers] == [4] * 8
    assert requests == ["other"] * 8


def _until_refused(channel: grpc.Channel) -> None:
    """Ask until the server is full; the call that occupies it needs a moment to arrive."""
    call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
    for _ in range(100):
        call(b"probe", timeout=5)
        time.sleep(0.01)


def test_unavailable_for_good_is_model_unavailable():
    with pytest.raises(errors.ModelUnavailableError, match=r"^classifier cannot be reached \(UNAVAILABLE\)$"):
        predict(Answering(lambda _: grpc.StatusCode.UNAVAILABLE))


def test_nobody_listening_is_model_unavailable():
    model = RemoteModel("127.0.0.1:9", name="denoiser", output="denoised", output_shape=(28, 28, 1), timeout_s=1.0)

    async def run() -> None:
        try:
            await model.predict(IMAGES, call=CallContext(Deadline.after(2)))
        finally:
            await model.close()

    with pytest.raises(errors.ModelUnavailableError):
        asyncio.run(run())


def test_a_server_of_http_1_is_told_apart_from_one_that_is_away():
    """A target that names the REST port: nothing is down, and trying again does not help."""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        target = f"127.0.0.1:{server.server_port}"
        model = RemoteModel(target, name="denoiser", output="denoised", output_shape=None, timeout_s=5.0)

        async def run() -> None:
            try:
                await model.predict(IMAGES, call=CallContext(Deadline.after(5)))
            finally:
                await model.close()

        try:
            with pytest.raises(errors.ModelResponseError) as raised:
                asyncio.run(run())
        finally:
            server.shutdown()
            thread.join()

    assert str(raised.value) == "what answers at the target of denoiser speaks another protocol"
    assert target in str(raised.value.__cause__)  # for the log


@pytest.mark.parametrize(("budget_s", "said"), [(0.1, "0.1 s"), (9.0, "1.0 s")])
def test_a_slow_model_is_a_timeout_of_the_shorter_limit(budget_s, said):
    with pytest.raises(errors.ModelTimeoutError, match=said):
        predict(Answering(lambda _: 5.0), budget_s=budget_s)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"\xff\xff rubbish", "no PredictResponse"),
        (b"", "answered nothing where probabilities was expected"),
        (response(name="logits"), "logits"),
        (response(SCORES[:2]), r"\(2, 10\)"),
        (response(SCORES.astype(np.float64)), "float64"),
        (response(np.full((3, 10), np.nan, np.float32)), "not finite"),
    ],
)
def test_rubbish_is_a_model_response_error_that_says_what_came(answer, said):
    with pytest.raises(errors.ModelResponseError, match=said):
        predict(Answering(lambda _: answer))


def test_a_tensor_that_does_not_fill_its_shape_is_rubbish_too():
    message = response()
    message.outputs["probabilities"].tensor_content = b"1234"

    with pytest.raises(errors.ModelResponseError, match="cannot be read"):
        predict(Answering(lambda _: message))


def test_a_check_finds_another_model_at_the_address():
    answers = [response(SCORES[:1]), response(SCORES[:1], name="denoised")]
    server = Answering(lambda number: answers[number - 1])

    async def use(model: RemoteModel) -> None:
        await model.check(call=CallContext(Deadline.after(5)))
        with pytest.raises(errors.ModelResponseError, match="answered denoised where probabilities was expected"):
            await model.check(call=CallContext(Deadline.after(5)))

    asyncio.run(served(server, use))


def test_status_lists_versions_newest_first():
    message = pb.GetModelStatusResponse()
    message.model_version_status.add(version=1, state=pb.ModelVersionStatus.END)
    message.model_version_status.add(version=2, state=pb.ModelVersionStatus.AVAILABLE)

    found = asyncio.run(served(Answering(lambda _: message), lambda model: model.status(timeout_s=1)))

    assert [(version.version, version.state) for version in found] == [(2, "AVAILABLE"), (1, "END")]
