"""The short cut and the way through Flask are one API: the same questions get the same answers."""

import asyncio
import gzip
import json
import logging
import re
import threading
from collections.abc import Mapping
from contextlib import nullcontext

import numpy as np
import pytest

from services.core.errors import ModelError, ModelResponseError, ModelUnavailableError
from services.core.images import encode_png
from services.gateway import app as app_module
from services.gateway.admission.auth import hash_key
from services.gateway.api.recognize import Recognize
from services.gateway.config import GatewayConfig
from services.gateway.server import http as server_module
from services.gateway.server.http import Server
from tests.support.fakes import FakeModel, fake_classifier, fake_denoiser
from tests.support.rsgi import Protocol, ask

PNG = {"content-type": "image/png"}
JSON = {"content-type": "application/json"}


def png(brightness: float) -> bytes:
    image = np.zeros((28, 28, 1), np.float32)
    image[4:24, 4:24] = brightness
    return encode_png(image)


class Running:
    """A Server with fake models on a loop of its own, asked like granian would."""

    def __init__(self, monkeypatch, *, short_cut: bool, failure: ModelError | None = None, **settings) -> None:
        self.denoiser, self.classifier = fake_denoiser(), fake_classifier(failure=failure)
        monkeypatch.setattr(app_module, "remote_denoiser", lambda config: self.denoiser)
        monkeypatch.setattr(app_module, "remote_classifier", lambda config: self.classifier)
        if not short_cut:
            monkeypatch.setattr(server_module, "SHORT_CUT_BYTES", -1)
        self.server = Server(GatewayConfig(**settings))

    def ask(self, path: str, **options) -> Protocol:
        return self.together((path, options))[0]

    def together(self, *questions: tuple[str, Mapping]) -> list[Protocol]:
        loop = asyncio.new_event_loop()

        async def run() -> list[Protocol]:
            return await asyncio.gather(*(ask(self.server, path, **options) for path, options in questions))

        self.server.__rsgi_init__(loop)
        try:
            return loop.run_until_complete(run())
        finally:
            self.server.__rsgi_del__(loop)
            loop.close()


@pytest.fixture(params=[True, False], ids=["short-cut", "flask"])
def start(request, monkeypatch):
    return lambda **settings: Running(monkeypatch, short_cut=request.param, **settings)


def same(answer: Protocol) -> tuple:
    """An answer without what differs each time: ids and times."""
    text = re.sub(rb'"(decode|queue|denoise|classify|total)":[0-9.e-]+', rb'"\1":0', answer.answer)
    headers = {name: value for name, value in answer.headers.items() if name not in ("server-timing", "content-length")}
    return answer.status, headers, text


QUESTIONS = {
    "a picture": {"body": png(0.9), "headers": PNG},
    "all that can be included": {
        "path": "/v1/recognize?include=probabilities,denoised,input&top_k=3&denoise=auto",
        "body": png(0.9),
        "headers": PNG,
    },
    "not denoised": {"path": "/v1/recognize?denoise=never", "body": png(0.9), "headers": PNG},
    "JSON": {"body": json.dumps({"images": [[0] * 784, [255] * 784]}).encode(), "headers": JSON},
    "gzip": {"body": gzip.compress(png(0.9)), "headers": {**PNG, "content-encoding": "gzip"}},
    "an array as answer": {"body": png(0.9), "headers": {**PNG, "accept": "application/x-npy"}},
    "octets": {"body": bytes(784 * 3), "headers": {"content-type": "application/octet-stream"}},
    "an encoded query": {"path": "/v1/recognize?include=input%2Cdenoised", "body": png(0.9), "headers": PNG},
    "an unknown option": {"path": "/v1/recognize?colour=red", "body": png(0.9), "headers": PNG},
    "a wrong option": {"path": "/v1/recognize?top_k=11", "body": png(0.9), "headers": PNG},
    "an empty option": {"path": "/v1/recognize?denoise=", "body": png(0.9), "headers": PNG},
    "an empty body": {"body": b"", "headers": PNG},
    "no type": {"body": png(0.9)},
    "an unknown type": {"body": b"x", "headers": {"content-type": "text/plain"}},
    "rubbish": {"body": b"\x89PNG rubbish", "headers": PNG},
    "broken JSON": {"body": b'{"images": [', "headers": JSON},
    "not gzip": {"body": b"plain", "headers": {**PNG, "content-encoding": "gzip"}},
    "an unknown encoding": {"body": b"plain", "headers": {**PNG, "content-encoding": "br"}},
    "no time": {"body": png(0.9), "headers": {**PNG, "request-timeout-ms": "soon"}},
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_both_ways_give_the_same_answer(monkeypatch, name):
    question = {"path": "/v1/recognize", **QUESTIONS[name]}
    question["headers"] = {**question.get("headers", {}), "x-request-id": "one"}

    with monkeypatch.context() as patch:
        quick = Running(patch, short_cut=True).ask(**question)
    with monkeypatch.context() as patch:
        slow = Running(patch, short_cut=False).ask(**question)

    assert same(quick) == same(slow)
    assert quick.status in (200, 413, 415, 422)


def test_a_picture_is_read(start):
    running = start()
    answer = running.ask("/v1/recognize", body=png(1.0), headers={**PNG, "x-request-id": "mine"})

    document = json.loads(answer.answer)
    assert answer.status == 200
    assert document["request_id"] == answer.headers["x-request-id"] == "mine"
    assert document["count"] == 1
    assert document["models"]["denoiser"] == {"name": "denoiser", "version": 1}
    assert document["results"][0]["digit"] == 5
    assert document["results"][0]["denoise"] == "applied"
    assert set(document["timings_ms"]) == {"decode", "queue", "denoise", "classify", "total"}
    assert {part.split(";")[0] for part in answer.headers["server-timing"].split(", ")} == set(document["timings_ms"])


def test_an_id_is_made_where_none_fits(start):
    answer = start().ask("/v1/recognize", body=png(1.0), headers={**PNG, "x-request-id": "a b\tc"})

    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


def test_the_id_and_the_trace_travel_to_the_models(start):
    running = start()
    trace = f"00-{'a' * 32}-{'b' * 16}-01"
    running.ask("/v1/recognize", body=png(1.0), headers={**PNG, "x-request-id": "mine", "traceparent": trace})

    assert dict(running.denoiser.metadata[0]) == {"x-request-id": "mine", "traceparent": trace}


def test_a_trace_that_is_none_stays_outside(start):
    running = start()
    running.ask("/v1/recognize", body=png(1.0), headers={**PNG, "traceparent": "00-junk"})

    assert "traceparent" not in dict(running.denoiser.metadata[0])


def test_requests_of_one_moment_share_a_call(monkeypatch):
    running = Running(monkeypatch, short_cut=True)
    answers = running.together(*[("/v1/recognize", {"body": png(1.0), "headers": PNG})] * 10)

    assert [answer.status for answer in answers] == [200] * 10
    assert running.classifier.sizes == [10]


@pytest.mark.parametrize(
    ("failure", "status"), [(ModelUnavailableError("down"), 503), (ModelResponseError("odd"), 502)]
)
def test_a_model_failure_is_its_problem(start, failure, status):
    answer = start(failure=failure).ask("/v1/recognize", body=png(1.0), headers=PNG)

    assert (answer.status, json.loads(answer.answer)["detail"]) == (status, str(failure))


@pytest.mark.parametrize("short_cut", [True, False])
def test_a_failure_nobody_foresaw_is_a_500_without_its_secrets(monkeypatch, caplog, short_cut):
    """It is logged once: by Flask, or by granian, which gets the exception of the short cut."""
    running = Running(monkeypatch, short_cut=short_cut)
    running.classifier._function = lambda images: {}["secret"]
    answer = Protocol()
    with pytest.raises(KeyError) if short_cut else nullcontext():
        running.ask("/v1/recognize", body=png(1.0), headers=PNG, protocol=answer)

    assert answer.status == 500
    assert b"secret" not in answer.answer
    assert json.loads(answer.answer)["type"] == "/problems/internal"
    assert any(record.exc_info for record in caplog.records) is not short_cut


def test_the_deadline_is_a_504(start):
    running = start()
    running.classifier.takes_s = 5
    answer = running.ask("/v1/recognize", body=png(1.0), headers={**PNG, "request-timeout-ms": "50"})

    assert (answer.status, json.loads(answer.answer)["type"]) == (504, "/problems/deadline-exceeded")


def test_a_key_is_asked_for(start, tmp_path):
    (tmp_path / "keys").write_text(f"alice {hash_key('secret')}\n")
    running = start(api_keys_file=str(tmp_path / "keys"))

    without, wrong, right, probe = running.together(
        ("/v1/recognize", {"body": png(1.0), "headers": PNG}),
        ("/v1/recognize", {"body": png(1.0), "headers": {**PNG, "x-api-key": "guess"}}),
        ("/v1/recognize", {"body": png(1.0), "headers": {**PNG, "authorization": "Bearer secret"}}),
        ("/readyz", {"method": "GET"}),
    )

    assert [answer.status for answer in (without, wrong, right, probe)] == [401, 401, 200, 200]
    assert without.headers["www-authenticate"] == "Bearer"


def test_a_rate_is_kept_for_each_client(start):
    running = start(rate_limit_per_s=0.001, rate_limit_burst=2)
    answers = running.together(*[("/v1/recognize", {"body": png(1.0), "headers": PNG})] * 3)

    assert sorted(answer.status for answer in answers) == [200, 200, 429]
    refused = next(answer for answer in answers if answer.status == 429)
    assert int(refused.headers["retry-after"]) >= 1


def test_behind_a_proxy_the_client_is_whom_the_proxy_saw(start):
    running = start(rate_limit_per_s=0.001, rate_limit_burst=1, trusted_proxies=1)
    answers = running.together(
        *[
            ("/v1/recognize", {"body": png(1.0), "headers": {**PNG, "x-forwarded-for": hops}})
            for hops in ("10.0.0.1", "1.2.3.4, 10.0.0.2", "9.9.9.9, 10.0.0.2")
        ]
    )

    assert sorted(answer.status for answer in answers) == [200, 200, 429]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_is_refused(start, chunked):
    answer = start(max_body_bytes=5000).ask("/v1/recognize", body=bytes(6000), headers=PNG, chunked=chunked)

    assert (answer.status, json.loads(answer.answer)["type"]) == (413, "/problems/payload-too-large")


def test_a_body_that_unpacks_too_large_is_refused(start):
    answer = start(max_body_bytes=5000).ask(
        "/v1/recognize", body=gzip.compress(bytes(10_000_000)), headers={**PNG, "content-encoding": "gzip"}
    )

    assert answer.status == 413


def test_bodies_held_at_once_are_bounded(monkeypatch):
    running = Running(monkeypatch, short_cut=False, max_body_bytes=10_000)
    monkeypatch.setattr(server_module, "HELD_BODIES", 0)
    answer = running.ask("/v1/recognize", body=bytes(6000), headers=PNG)

    assert (answer.status, json.loads(answer.answer)["type"]) == (503, "/problems/overloaded")
    assert "retry-after" in answer.headers


def test_a_large_picture_is_decoded_off_the_loop(monkeypatch):
    """Sixteen kilobytes can hold millions of pixels: others must not wait for them."""
    running = Running(monkeypatch, short_cut=True)
    threads: list[str] = []
    decode = Recognize.decode
    monkeypatch.setattr(
        Recognize, "decode", lambda *args: threads.append(threading.current_thread().name) or decode(*args)
    )
    large = encode_png(np.zeros((1000, 1000, 1), np.float32))
    assert len(large) < server_module.SHORT_CUT_BYTES

    running.together(
        ("/v1/recognize", {"body": png(1.0), "headers": PNG}), ("/v1/recognize", {"body": large, "headers": PNG})
    )

    assert sorted(name.rstrip("_0123456789") for name in threads) == ["MainThread", "flask-work"]


@pytest.mark.parametrize("short_cut", [True, False])
def test_a_client_that_left_is_not_computed_for(monkeypatch, short_cut):
    running = Running(monkeypatch, short_cut=short_cut)
    running.classifier.takes_s = 30
    loop = asyncio.new_event_loop()
    running.server.__rsgi_init__(loop)

    async def run() -> Protocol:
        protocol = Protocol()
        question = asyncio.create_task(
            ask(running.server, "/v1/recognize", body=png(1.0), headers={**PNG, "request-timeout-ms": "20000"},
                protocol=protocol)
        )  # fmt: skip
        await asyncio.sleep(0.05)
        protocol.gone.set()
        await asyncio.wait_for(question, 5)
        return protocol

    try:
        assert loop.run_until_complete(run()).status == 499
        assert len(asyncio.all_tasks(loop)) == 0
    finally:
        running.server.__rsgi_del__(loop)
        loop.close()


def test_every_request_is_one_line_with_fields(start, caplog):
    with caplog.at_level(logging.INFO, "cleardigits.access"):
        start().ask("/v1/recognize", body=png(1.0), headers={**PNG, "x-request-id": "mine"})

    (record,) = [record for record in caplog.records if record.name == "cleardigits.access"]
    assert (record.request_id, record.route, record.status, record.images) == ("mine", "/v1/recognize", 200, 1)
    assert record.total_ms > 0


@pytest.mark.parametrize(("wanted", "lines"), [("all", 2), ("errors", 1), ("none", 0)])
def test_which_requests_get_a_line_is_a_setting(start, caplog, wanted, lines):
    with caplog.at_level(logging.INFO, "cleardigits.access"):
        start(access_log=wanted).together(
            ("/v1/recognize", {"body": png(1.0), "headers": PNG}), ("/nowhere", {"method": "GET"})
        )

    assert len([record for record in caplog.records if record.name == "cleardigits.access"]) == lines


def test_metrics_count_what_happened(start):
    running = start()
    good = ("/v1/recognize", {"body": png(1.0), "headers": PNG})
    loop = asyncio.new_event_loop()
    running.server.__rsgi_init__(loop)

    async def run() -> str:
        await asyncio.gather(*(ask(running.server, good[0], **good[1]) for _ in range(3)))
        await ask(running.server, "/v1/recognize", body=b"rubbish", headers=PNG)
        return (await ask(running.server, "/metrics", method="GET")).answer.decode()

    try:
        text = loop.run_until_complete(run())
    finally:
        running.server.__rsgi_del__(loop)
        loop.close()

    assert 'cleardigits_requests_total{route="/v1/recognize",status="200"} 3.0' in text
    assert 'cleardigits_requests_total{route="/v1/recognize",status="422"} 1.0' in text
    assert 'cleardigits_digits_total{digit="5"} 3.0' in text
    assert 'cleardigits_model_info{model="classifier",version="1"} 1.0' in text
    assert 'cleardigits_stage_seconds_count{stage="decode"} 3.0' in text
    assert 'cleardigits_stage_seconds_count{stage="queue"} 3.0' in text
    assert "cleardigits_in_flight_requests 1.0" in text  # the one that asks
    assert "cleardigits_queue_images 0.0" in text


def test_large_requests_are_cut_and_joined(monkeypatch):
    running = Running(monkeypatch, short_cut=False, batch_images=16)
    pixels = np.repeat(np.arange(100, dtype=np.uint8), 784) * 2
    answer = running.ask(
        "/v1/recognize?preprocess=none", body=pixels.tobytes(), headers={"content-type": "application/octet-stream"}
    )

    results = json.loads(answer.answer)["results"]
    assert [result["index"] for result in results] == list(range(100))
    assert [result["digit"] for result in results] == [int(2 * value / 255 * 10) for value in range(100)]
    assert max(running.classifier.sizes) == 16


def test_degraded_mode_reads_the_noisy_picture(start):
    running = start(on_denoiser_failure="classify")
    running.denoiser = fake_denoiser(failure=ModelUnavailableError("down"))
    answer, ready = running.together(
        ("/v1/recognize", {"body": png(1.0), "headers": PNG}), ("/readyz", {"method": "GET"})
    )

    document = json.loads(answer.answer)
    assert (answer.status, document["degraded"], document["models"]["denoiser"]) == (200, True, None)
    assert document["results"][0]["denoise"] == "skipped"
    assert ready.status == 200  # it can answer


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (fake_classifier(failure=ModelUnavailableError("nobody there")), "nobody there"),
        (FakeModel(lambda images: images, name="classifier"), "available"),
    ],
)
def test_ready_says_which_model_is_missing(monkeypatch, model, said):
    running = Running(monkeypatch, short_cut=True)
    running.classifier = model
    answer = running.ask("/readyz", method="GET")

    document = json.loads(answer.answer)
    assert answer.status == (200 if said == "available" else 503)
    assert document["models"] == {"denoiser": "available", "classifier": said}


def test_a_gateway_that_stops_is_alive_but_not_ready(monkeypatch):
    running = Running(monkeypatch, short_cut=True)
    running.server._draining = lambda: True
    ready, alive = running.together(("/readyz", {"method": "GET"}), ("/healthz", {"method": "GET"}))

    assert (ready.status, alive.status) == (503, 200)
    assert json.loads(ready.answer)["draining"] is True


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/nowhere", "GET", 404), ("/v1/recognize", "GET", 405), ("/healthz", "DELETE", 405)]
)
def test_wrong_paths_and_methods_are_problems_too(monkeypatch, path, method, status):
    answer = Running(monkeypatch, short_cut=True).ask(path, method=method)

    document = json.loads(answer.answer)
    assert (answer.status, document["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["request_id"] == answer.headers["x-request-id"]
