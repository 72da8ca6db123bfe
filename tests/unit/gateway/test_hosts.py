"""One API behind two hosts: the HTTP server and Flask under any WSGI server give the same answers."""

import gzip
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest

from services.core.errors import ModelError, ModelResponseError, ModelUnavailableError
from services.core.images import encode_png
from services.gateway.admission.auth import hash_key
from services.gateway.api.readiness import ASK_TIMEOUT_S
from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from tests.support.fakes import FakeModel, fake_classifier, fake_denoiser
from tests.support.hosts import HOSTS, Host, Reply, running

PNG = {"content-type": "image/png"}
JSON = {"content-type": "application/json"}


def png(brightness: float) -> bytes:
    image = np.zeros((28, 28, 1), np.float32)
    image[4:24, 4:24] = brightness
    return encode_png(image)


class Running:
    """A gateway with fake models behind a host, started for one test."""

    def __init__(self, kind: str, *, failure: ModelError | None = None, **settings) -> None:
        self.kind = kind
        self.denoiser, self.classifier = fake_denoiser(), fake_classifier(failure=failure)
        self.config = GatewayConfig(**{"request_timeout_ms": 20_000, **settings})  # decoders may start slowly
        self.draining = False

    @contextmanager
    def listening(self) -> Iterator[Host]:
        gateway = Gateway(
            self.config, denoiser=self.denoiser, classifier=self.classifier, draining=lambda: self.draining
        )
        with running(self.kind, gateway) as host:
            yield host

    def ask(self, path: str, **options) -> Reply:
        with self.listening() as host:
            return host.ask(path, **options)

    def together(self, *questions: tuple[str, Mapping]) -> list[Reply]:
        with self.listening() as host:
            return host.together(*questions)


@pytest.fixture(params=HOSTS)
def start(request):
    return lambda **settings: Running(request.param, **settings)


def same(answer: Reply) -> tuple:
    """An answer without what differs each time: ids and times."""
    text = re.sub(rb'"(decode|queue|denoise|classify|total)":[0-9.e-]+', rb'"\1":0', answer.body)
    left_out = ("server-timing", "content-length", "date", "server", "connection")
    headers = {name: value for name, value in answer.headers.items() if name not in left_out}
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
    "no type, and no picture": {"body": b"{}"},
    "a file of any bytes": {"body": png(0.9), "headers": {"content-type": "application/octet-stream"}},
    "an unknown type": {"body": b"x", "headers": {"content-type": "text/plain"}},
    "rubbish": {"body": b"\x89PNG rubbish", "headers": PNG},
    "broken JSON": {"body": b'{"images": [', "headers": JSON},
    "not gzip": {"body": b"plain", "headers": {**PNG, "content-encoding": "gzip"}},
    "an unknown encoding": {"body": b"plain", "headers": {**PNG, "content-encoding": "br"}},
    "no time": {"body": png(0.9), "headers": {**PNG, "request-timeout-ms": "soon"}},
    "encoded as it is": {"body": png(0.9), "headers": {**PNG, "content-encoding": "identity"}},
    "an empty encoding": {"body": png(0.9), "headers": {**PNG, "content-encoding": ""}},
    "a list as two options": {"path": "/v1/recognize?include=input&include=denoised", "body": png(0.9), "headers": PNG},
    "an option twice": {"path": "/v1/recognize?top_k=1&top_k=99", "body": png(0.9), "headers": PNG},
    "an option that is no UTF-8": {"path": "/v1/recognize?denoise=%ff", "body": png(0.9), "headers": PNG},
    "too many parameters": {"path": "/v1/recognize?" + "&" * 200, "body": png(0.9), "headers": PNG},
    "chunks": {"body": png(0.9) + bytes(3000), "headers": PNG, "chunked": True},
    "compressed chunks": {
        "body": gzip.compress(png(0.9)),
        "headers": {**PNG, "content-encoding": "gzip"},
        "chunked": True,
    },
    "a model's ready": {"path": "/v2/models/digits/ready", "method": "GET"},
    "a model that is none": {"path": "/v2/models/x%0ay/ready", "method": "GET"},
    "a version that is none": {"path": "/v2/models/digits/versions/7", "method": "GET"},
    "inference of nothing": {"path": "/v2/models/digits/infer", "body": b"{}"},
    "inference with numbers too large": {
        "path": "/v2/models/denoiser/infer",
        "body": json.dumps(
            {"inputs": [{"name": "images", "shape": [1, 784], "datatype": "FP32", "data": [3e38] * 784}]}
        ).encode(),
    },
    "a prediction": {
        "path": "/v1/models/digits:predict",
        "body": b'{"instances": [%b]}' % json.dumps([0.5] * 784).encode(),
    },
    "the metadata of TensorFlow Serving's form": {"path": "/v1/models/digits/versions/1/metadata", "method": "GET"},
    "nowhere": {"path": "/nowhere", "method": "GET"},
    "nowhere under the interface": {"path": "/v1/nowhere", "method": "GET"},
    "a slash too many": {"path": "/v1/recognize/", "body": png(0.9), "headers": PNG},
    "slashes merged": {"path": "/v1//recognize", "body": b"", "headers": PNG},
    "another method": {"path": "/v1/recognize", "method": "GET"},
    "which methods there are": {"path": "/v1/recognize", "method": "OPTIONS"},
    "the head of an answer": {"path": "/readyz", "method": "HEAD"},
    "the page": {"path": "/", "method": "GET"},
    "the page's head": {"path": "/docs", "method": "HEAD"},
    "the interface for programs": {"path": "/openapi.yaml", "method": "GET"},
    "alive": {"path": "/healthz", "method": "GET"},
    "ready": {"path": "/readyz", "method": "GET"},
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_both_hosts_give_the_same_answer(hosts, name):
    question = {"path": "/v1/recognize", **QUESTIONS[name]}
    question["headers"] = {**question.get("headers", {}), "x-request-id": "one", "host": "gateway.test"}

    through_http, through_flask = (same(host.ask(**question)) for host in hosts)

    assert through_http == through_flask
    assert through_http[0] < 500


def test_a_list_may_come_as_one_parameter_or_as_several(hosts):
    """The second is what requests, Go and most generated clients make of a list."""
    paths = [f"/v1/recognize?include={query}" for query in ("input,denoised", "input&include=denoised")]

    once, twice = (json.loads(hosts[0].ask(path, body=png(0.9), headers=PNG).body)["results"] for path in paths)

    assert once == twice
    assert {"input", "denoised"} <= once[0].keys()


@pytest.mark.parametrize(
    ("path", "method", "detail"),
    [
        ("/v1/recognize", "GET", "the methods of this route are POST, OPTIONS"),
        ("/healthz", "DELETE", "the methods of this route are GET, HEAD, OPTIONS"),
        ("/v1/recognise", "POST", "no route /v1/recognise: /docs shows them all"),
    ],
)
def test_where_there_is_nothing_it_is_said_what_there_is(hosts, path, method, detail):
    answer = hosts[0].ask(path, method=method)

    assert json.loads(answer.body)["detail"] == detail


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.yaml", "/healthz", "/v2/models/digits", "/nowhere", "/v1/recognize"]
)
def test_the_head_of_an_answer_says_how_long_it_would_be(hosts, path):
    head, whole = (hosts[0].ask(path, method=method) for method in ("HEAD", "GET"))

    assert (head.status, head.body) == (whole.status, b"")
    assert head.headers["content-length"] == str(len(whole.body)) != "0"


@pytest.fixture(scope="module")
def hosts() -> Iterator[list[Host]]:
    """Both, with models that work."""
    with ExitStack() as ends:
        yield [ends.enter_context(Running(kind).listening()) for kind in HOSTS]


def test_a_picture_is_read(start):
    running = start()
    answer = running.ask("/v1/recognize", body=png(1.0), headers={**PNG, "x-request-id": "mine"})

    document = json.loads(answer.body)
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


@pytest.mark.parametrize(
    ("failure", "status"), [(ModelUnavailableError("down"), 503), (ModelResponseError("odd"), 502)]
)
def test_a_model_failure_is_its_problem(start, failure, status):
    answer = start(failure=failure).ask("/v1/recognize", body=png(1.0), headers=PNG)

    assert (answer.status, json.loads(answer.body)["detail"]) == (status, str(failure))


def test_an_unexpected_failure_is_a_500_without_its_secrets(start, caplog):
    running = start()
    running.classifier._function = lambda images: {}["secret"]
    answer = running.ask("/v1/recognize", body=png(1.0), headers=PNG)

    assert answer.status == 500
    assert b"secret" not in answer.body
    assert json.loads(answer.body)["type"] == "/problems/internal"
    assert len([record for record in caplog.records if record.exc_info]) == 1  # logged once


def test_the_deadline_is_a_504(start):
    running = start()
    running.classifier.takes_s = 5
    answer = running.ask("/v1/recognize", body=png(1.0), headers={**PNG, "request-timeout-ms": "50"})

    assert (answer.status, json.loads(answer.body)["type"]) == (504, "/problems/deadline-exceeded")


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


@pytest.mark.parametrize(
    "second", ["9.9.9.9, 10.0.0.2", ["9.9.9.9", "10.0.0.2"]], ids=["one line", "two lines, which are one list"]
)
def test_behind_a_proxy_the_client_is_the_one_the_proxy_saw(start, second):
    running = start(rate_limit_per_s=0.001, rate_limit_burst=1, trusted_proxies=1)
    answers = running.together(
        *[
            ("/v1/recognize", {"body": png(1.0), "headers": {**PNG, "x-forwarded-for": hops}})
            for hops in ("10.0.0.1", "1.2.3.4, 10.0.0.2", second)
        ]
    )

    assert sorted(answer.status for answer in answers) == [200, 200, 429]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_is_refused(start, chunked):
    answer = start(max_body_bytes=5000).ask("/v1/recognize", body=bytes(6000), headers=PNG, chunked=chunked)

    assert (answer.status, json.loads(answer.body)["type"]) == (413, "/problems/payload-too-large")


def test_a_body_that_unpacks_too_large_is_refused(start):
    answer = start(max_body_bytes=5000).ask(
        "/v1/recognize", body=gzip.compress(bytes(10_000_000)), headers={**PNG, "content-encoding": "gzip"}
    )

    assert answer.status == 413


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("content-type: image/png", 401),
        ("content-type: image/png\r\nx-api-key: secret\r\nrequest-timeout-ms: soon", 422),
        ("content-type: text/plain\r\nx-api-key: secret", 415),
        ("content-type: image/png\r\nx-api-key: secret\r\ncontent-encoding: br", 415),
    ],
)
def test_what_the_head_says_is_judged_before_a_byte_of_the_body_is_read(start, tmp_path, head, status):
    """20 MB are promised and never sent: the answer comes all the same."""
    (tmp_path / "keys").write_text(f"alice {hash_key('secret')}\n")
    with start(api_keys_file=str(tmp_path / "keys")).listening() as host:
        answer = raw(host, f"POST /v1/recognize HTTP/1.1\r\nhost: x\r\n{head}\r\ncontent-length: 20000000\r\n\r\n")

    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_a_size_too_large_is_refused_before_it_is_sent(start):
    with start(max_body_bytes=5000).listening() as host:
        answer = raw(
            host, "POST /v1/recognize HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ncontent-length: 5001\r\n\r\n"
        )

    assert answer.startswith(b"HTTP/1.1 413 ")


def raw(host: Host, head: str) -> bytes:
    """What comes back for bytes that are sent as they are."""
    with socket.create_connection(("127.0.0.1", host.port), timeout=5) as connection:
        connection.sendall(head.encode())
        return connection.recv(100_000)


PROBE_S = 0.1  # a probe is answered within


@contextmanager
def asking(host: Host, path: str, clients: int) -> Iterator[None]:
    """While the block runs, so many clients ask again and again."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            host.ask(path, method="GET")

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def three_of_four_s(host: Host, path: str, status: int) -> float:
    """What three of four GETs take no longer than; paced, for answers from memory are asked for no more often."""
    took_s = []
    for _ in range(8):
        time.sleep(0.1)
        started_s = time.monotonic()
        answer = host.ask(path, method="GET")
        took_s.append(time.monotonic() - started_s)
        assert answer.status == status
    return sorted(took_s)[5]


@pytest.mark.parametrize(("path", "status"), [("/healthz", 200), ("/readyz", 503)])
def test_probes_are_answered_while_a_model_server_hangs(start, path, status):
    """Sixteen clients ask for a model that does not answer, and a probe waits for none of them. It was 7.9 s.

    How busy the machine is just now, the same says while the model does answer.
    """
    running = start()
    running.denoiser.hangs = True
    with running.listening() as host, asking(host, "/v2/models/denoiser/ready", 16):
        time.sleep(0.2)
        hung_s = three_of_four_s(host, path, status)
        running.denoiser.hangs = False
        time.sleep(ASK_TIMEOUT_S)  # until the last question has been given up
        until_s = time.monotonic() + 20
        while host.ask(path, method="GET").status != 200 and time.monotonic() < until_s:  # and the next is answered
            time.sleep(0.1)
        busy_s = three_of_four_s(host, path, 200)

    assert hung_s < PROBE_S + busy_s


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


@pytest.mark.parametrize(("level", "lines"), [(logging.INFO, 0), (logging.DEBUG, 2)])
def test_probes_that_find_all_well_do_not_fill_the_log(start, caplog, level, lines):
    with caplog.at_level(level, "cleardigits.access"):
        start().together(("/healthz", {"method": "GET"}), ("/metrics", {"method": "GET"}))

    assert len([record for record in caplog.records if record.name == "cleardigits.access"]) == lines


def test_metrics_count_what_happened(start):
    with start().listening() as host:
        host.together(*[("/v1/recognize", {"body": png(1.0), "headers": PNG})] * 3)
        host.ask("/v1/recognize", body=b"rubbish", headers=PNG)
        text = host.ask("/metrics", method="GET").body.decode()

    assert 'cleardigits_requests_total{route="/v1/recognize",status="200"} 3.0' in text
    assert 'cleardigits_requests_total{route="/v1/recognize",status="422"} 1.0' in text
    assert 'cleardigits_digits_total{digit="5"} 3.0' in text
    assert 'cleardigits_model_info{model="classifier",version="1"} 1.0' in text
    assert 'cleardigits_stage_seconds_count{stage="decode"} 3.0' in text
    assert 'cleardigits_stage_seconds_count{stage="queue"} 3.0' in text
    assert "cleardigits_in_flight_requests 1.0" in text  # the one that asks
    assert "cleardigits_queue_images 0.0" in text


def test_large_requests_are_cut_and_joined(start):
    running = start(batch_images=16)
    pixels = np.repeat(np.arange(100, dtype=np.uint8), 784) * 2
    answer = running.ask(
        "/v1/recognize?preprocess=none", body=pixels.tobytes(), headers={"content-type": "application/octet-stream"}
    )

    results = json.loads(answer.body)["results"]
    assert [result["index"] for result in results] == list(range(100))
    assert [result["digit"] for result in results] == [int(2 * value / 255 * 10) for value in range(100)]
    assert max(running.classifier.sizes) == 16


def test_degraded_mode_reads_the_noisy_picture(start):
    running = start(on_denoiser_failure="classify")
    running.denoiser = fake_denoiser(failure=ModelUnavailableError("down"))
    answer, ready = running.together(
        ("/v1/recognize", {"body": png(1.0), "headers": PNG}), ("/readyz", {"method": "GET"})
    )

    document = json.loads(answer.body)
    assert (answer.status, document["degraded"], document["models"]["denoiser"]) == (200, True, None)
    assert document["results"][0]["denoise"] == "skipped"
    assert ready.status == 200  # it can answer


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (fake_classifier(failure=ModelUnavailableError("no answer")), "no answer"),
        (FakeModel(lambda images: images, name="classifier"), "available"),
    ],
)
def test_ready_says_which_model_is_missing(start, model, said):
    running = start()
    running.classifier = model
    answer = running.ask("/readyz", method="GET")

    document = json.loads(answer.body)
    assert answer.status == (200 if said == "available" else 503)
    assert document["models"] == {"denoiser": "available", "classifier": said}


def test_a_model_that_is_another_one_is_not_ready(start):
    running = start()
    running.denoiser.answers_wrongly = True
    answer = running.ask("/readyz", method="GET")

    assert answer.status == 503
    assert (
        json.loads(answer.body)["models"]["denoiser"] == "denoiser answered probabilities where denoised was expected"
    )


@pytest.mark.parametrize("kind", HOSTS)
@pytest.mark.parametrize("target", ["lane:/nowhere/secret.sock", "unix:/nowhere/secret.sock", "127.0.0.1:9"])
def test_no_answer_tells_where_a_model_server_is(kind, target):
    """Issue 15.13: 503 bodies and /readyz showed addresses and paths of sockets."""
    gateway = Gateway(GatewayConfig(denoiser_target=target, classifier_target=target, request_timeout_ms=500))
    with running(kind, gateway) as host:
        answers = [
            host.ask("/v1/recognize", body=png(1.0), headers=PNG),
            host.ask("/v2/models/denoiser", method="GET"),
            *(host.ask("/readyz", method="GET") for _ in range(3)),
        ]

    said = b" ".join(answer.body for answer in answers)
    assert {answer.status for answer in answers} <= {503, 504}
    assert b"denoiser" in said
    assert not [word for word in (b"secret", b"nowhere", b"127.0.0.1", b":9") if word in said]


def test_a_gateway_that_stops_is_alive_but_not_ready(start):
    running = start()
    running.draining = True
    ready, alive = running.together(("/readyz", {"method": "GET"}), ("/healthz", {"method": "GET"}))

    assert (ready.status, alive.status) == (503, 200)
    assert json.loads(ready.body)["draining"] is True


@pytest.mark.parametrize(
    ("path", "method", "status"), [("/nowhere", "GET", 404), ("/v1/recognize", "GET", 405), ("/healthz", "DELETE", 405)]
)
def test_wrong_paths_and_methods_are_problems_too(start, path, method, status):
    answer = start().ask(path, method=method)

    document = json.loads(answer.body)
    assert (answer.status, document["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert document["request_id"] == answer.headers["x-request-id"]
