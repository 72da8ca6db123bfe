"""Between gateway and model: what reaches a model, and what a client hears when a model server refuses.

What reaches a model is a batch of at least one image in the signature's shape, of all that clients send.

With batching on, TensorFlow Serving fails the calls that share a batch with a call of a wrong shape, and a call of no
rows hangs to its deadline (seen with 2.20.0).
"""

import io
import json

import numpy as np
import pytest
from flask.testing import FlaskClient

from services.core.errors import ModelRefusedError
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from tests.support.fakes import FakeModel, fake_classifier, fake_denoiser
from tests.support.hosts import flask_client

SHAPES = [(0,), (0, 28, 28, 1), (0, 784), (1, 0), (1, 28, 0, 1), (28, 28), (2, 784), (2, 28, 28), (2, 28, 28, 1),
          (1, 28, 28, 3), (1, 29, 28, 1), (1, 27, 28), (1, 28, 28, 1, 1), (3, 5), (), (1,)]  # fmt: skip


class Watched:
    """An application whose models note the shape and type of every call."""

    client: FlaskClient

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[int, ...], str]] = []
        denoiser, classifier = self._watch(fake_denoiser()), self._watch(fake_classifier())
        self.gateway = Gateway(GatewayConfig(request_timeout_ms=20_000), denoiser=denoiser, classifier=classifier)

    def _watch(self, model: FakeModel) -> FakeModel:
        function = model._function

        def noting(images: np.ndarray) -> np.ndarray:
            self.calls.append((model.name, images.shape, images.dtype.name))
            return function(images)

        model._function = noting
        return model


@pytest.fixture(scope="module")
def watched():
    found = Watched()
    with flask_client(found.gateway) as found.client:
        yield found


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def requests_of(shape: tuple[int, ...]) -> dict[str, tuple[str, bytes, str]]:
    """Every way to send an array of this shape: (path, body, content type)."""
    array = np.full(shape, 0.5, np.float32)
    tensor = {"name": "images", "shape": list(shape), "datatype": "FP32", "data": array.ravel().tolist()}
    inputs = json.dumps({"inputs": [tensor]}).encode()
    raw = (array * 255).astype(np.uint8).tobytes()
    return {
        "json": ("/v1/recognize", json.dumps({"images": array.tolist()}).encode(), "application/json"),
        "npy": ("/v1/recognize", npy(array), "application/x-npy"),
        "raw": ("/v1/recognize", raw, "application/octet-stream"),
        "not denoised": ("/v1/recognize?denoise=never", npy(array), "application/x-npy"),
        "digits": ("/v2/models/digits/infer", inputs, "application/json"),
        "denoiser": ("/v2/models/denoiser/infer", inputs, "application/json"),
        "classifier": ("/v2/models/classifier/infer", inputs, "application/json"),
        "instances": (
            "/v1/models/denoiser:predict",
            json.dumps({"instances": array.tolist()}).encode(),
            "application/json",
        ),
        "columns": (
            "/v1/models/classifier:predict",
            json.dumps({"inputs": array.tolist()}).encode(),
            "application/json",
        ),
    }


@pytest.mark.parametrize("way", list(requests_of((1,))))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_no_body_makes_a_call_of_no_rows_or_of_another_shape(watched, shape, way):
    path, body, content_type = requests_of(shape)[way]
    watched.calls.clear()

    answer = watched.client.post(path, data=body, content_type=content_type)

    assert answer.status_code == 200 or 400 <= answer.status_code < 500
    assert (answer.status_code == 200) == bool(watched.calls)
    for name, called, dtype in watched.calls:
        assert called[0] >= 1, name
        assert (called[1:], dtype) == ((28, 28, 1), "float32"), name


def test_a_refusal_has_its_title_says_when_to_come_back_and_is_counted_by_the_gateway():
    """TensorFlow Serving's request_count does not contain what it refused for want of a thread."""
    full = fake_classifier(failure=ModelRefusedError("classifier: RESOURCE_EXHAUSTED: Server Threadpool Exhausted"))
    gateway = Gateway(GatewayConfig(), denoiser=fake_denoiser(), classifier=full)

    with flask_client(gateway) as client:
        answer = client.post(
            "/v1/recognize", data=npy(np.zeros((1, 28, 28, 1), np.float32)), content_type="application/x-npy"
        )
        metrics = client.get("/metrics").text

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert (answer.json["type"], answer.json["title"]) == ("/problems/model-refused", "A model server refused the call")
    assert "Server Threadpool Exhausted" in answer.json["detail"]
    assert 'cleardigits_rejected_total{reason="model-refused"} 1.0' in metrics
