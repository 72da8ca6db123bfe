"""Weights are kept, the same key goes the same way, and a request that names its label gets it."""

import itertools
import json
from collections import Counter

import pytest

from services.core.errors import ConfigError, InvalidInputError
from services.gateway.config import PREFIX, GatewayConfig
from services.gateway.gateway import Gateway
from services.gateway.models.remote import Prediction
from services.gateway.split import LABEL, STICKY, Split
from tests.support.fakes import FakeModel, fake_classifier, fake_denoiser, scores_by_brightness
from tests.support.hosts import HOSTS, running

BODY = b'{"images": [[' + b"0.35," * 783 + b"0.35]]}"
JSON = {"Content-Type": "application/json"}
COUNT = 20_000
VERSION_OF = {"": 1, "stable": 1, "canary": 2}


class Labelled(FakeModel):
    """Answers with the version behind the label of the call, or the version named."""

    async def predict(self, images, *, call):
        found = await super().predict(images, call=call)
        return Prediction(found.array, call.version or VERSION_OF[call.label], found.more)

    async def status(self, *, timeout_s):
        [known] = await super().status(timeout_s=timeout_s)
        return [type(known)(version, known.state) for version in (2, 1)]


@pytest.fixture(params=HOSTS)
def host(request):
    gateway = Gateway(
        GatewayConfig(split="stable:50,canary:50"),
        denoiser=Labelled(lambda images: images, name="denoiser"),
        classifier=Labelled(scores_by_brightness, name="classifier"),
    )
    with running(request.param, gateway) as host:
        yield host


def drawn(split, keys):
    return [split.label_of({}, key) for key in keys]


def ids(count=COUNT):
    return [f"request-{number}" for number in range(count)]


def test_each_label_gets_its_share():
    found = Counter(drawn(Split.parsed("stable:95,canary:5"), ids()))

    assert set(found) == {"stable", "canary"}
    assert found["canary"] / COUNT == pytest.approx(0.05, abs=0.006)  # four standard deviations of a binomial


def test_shares_may_be_fractions_and_more_than_two():
    found = Counter(drawn(Split.parsed("a:98.5, b:1 ,c:0.5"), ids()))

    assert {label: found[label] / COUNT for label in "abc"} == pytest.approx(
        {"a": 0.985, "b": 0.01, "c": 0.005}, abs=0.004
    )


def test_the_same_key_goes_the_same_way_and_stays_when_the_share_grows():
    small, large = (drawn(Split.parsed(f"stable:{100 - share},canary:{share}"), ids()) for share in (5, 20))

    assert drawn(Split.parsed("stable:95,canary:5"), ids()) == small
    assert all(later == "canary" for first, later in zip(small, large, strict=True) if first == "canary")


def test_a_sticky_key_goes_before_the_request_id():
    split = Split.parsed("stable:50,canary:50")
    found = {split.label_of({STICKY.lower(): "user-17"}, request_id) for request_id in ids(50)}

    assert len(found) == 1


def test_a_label_without_a_share_answers_when_it_is_named():
    split = Split.parsed("stable:100,canary:0")

    assert set(drawn(split, ids(2000))) == {"stable"}
    assert split.label_of({LABEL.lower(): "canary", STICKY.lower(): "user-17"}, "r") == "canary"


def test_a_label_that_is_not_there_is_invalid_input():
    with pytest.raises(InvalidInputError, match="no label is called 'beta'; there is stable, canary"):
        Split.parsed("stable:95,canary:5").label_of({LABEL.lower(): "beta"}, "r")
    with pytest.raises(InvalidInputError, match="there is none here"):
        Split.parsed("").label_of({LABEL.lower(): "stable"}, "r")


@pytest.mark.parametrize(
    "text",
    ["stable", "stable:", "stable:x", ":100", "stable:95,canary:6", "stable:50,stable:50", "stable:101,canary:-1",
     "stable:nan", "sta ble:100", "stable:100,"],
)  # fmt: skip
def test_a_split_that_cannot_work_is_named_at_start(text):
    with pytest.raises(ConfigError, match=f"{PREFIX}SPLIT"):
        GatewayConfig.from_env({f"{PREFIX}SPLIT": text})


def test_a_split_beside_a_label_is_refused():
    with pytest.raises(ConfigError, match="SPLIT and CLEARDIGITS_GATEWAY_CLASSIFIER_LABEL both say"):
        GatewayConfig.from_env({f"{PREFIX}SPLIT": "stable:100", f"{PREFIX}CLASSIFIER_LABEL": "stable"})


def test_each_answer_says_which_label_and_versions_gave_it(host):
    for key in ids(12):
        reply = host.ask("/v1/recognize", body=BODY, headers={**JSON, STICKY: key})
        answer = json.loads(reply.body)
        versions = {model["version"] for model in answer["models"].values()}

        assert answer["label"] == reply.headers[LABEL.lower()]
        assert versions == {VERSION_OF[answer["label"]]}, "a pair never mixes"
        assert answer["label"] == Split.parsed("stable:50,canary:50").label_of({STICKY.lower(): key}, "")


TENSOR = b'{"inputs": [{"name": "images", "datatype": "FP32", "shape": [1, 28, 28, 1], "data": [' + b"0.35," * 783
PATHS = {
    "/v1/recognize": BODY,
    "/v2/models/digits/infer": TENSOR + b"0.35]}]}",
    "/v2/models/classifier/infer": TENSOR + b"0.35]}]}",
    "/v1/models/digits:predict": b'{"instances": [[' + b"0.35," * 783 + b"0.35]]}",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_label_that_is_named_answers_on_every_route(host, path):
    for label in itertools.islice(itertools.cycle(("canary", "stable")), 6):
        reply = host.ask(path, body=PATHS[path], headers={**JSON, LABEL: label})

        assert (reply.status, reply.headers[LABEL.lower()]) == (200, label), reply.body


def test_a_line_is_read_by_one_label_whole(host):
    stroke = b"\0" * 112 + (b"\0" * 12 + b"\xff" * 4 + b"\0" * 12) * 20 + b"\0" * 112
    for label in ("canary", "stable"):
        headers = {"Content-Type": "application/octet-stream", LABEL: label}
        answer = json.loads(host.ask("/v1/read", body=stroke, headers=headers).body)

        assert answer["label"] == label
        assert {model["version"] for model in answer["models"].values()} == {VERSION_OF[label]}


def test_the_formats_of_other_servers_name_the_label_too(host):
    reply = host.ask(
        "/v2/models/digits/infer", body=PATHS["/v2/models/digits/infer"], headers={**JSON, LABEL: "canary"}
    )
    parameters = json.loads(reply.body)["parameters"]

    assert (parameters["label"], parameters["classifier_version"]) == ("canary", "2")


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_version_in_the_address_goes_before_the_split(host, version):
    for _ in range(6):
        reply = host.ask(f"/v2/models/classifier/versions/{version}/infer", body=TENSOR + b"0.35]}]}", headers=JSON)

        assert json.loads(reply.body)["model_version"] == version
        assert LABEL.lower() not in reply.headers


def test_a_label_that_is_not_there_is_a_422_with_the_ones_that_are(host):
    reply = host.ask("/v1/recognize", body=BODY, headers={**JSON, LABEL: "beta"})

    assert reply.status == 422
    assert "stable, canary" in json.loads(reply.body)["detail"]


def test_requests_are_counted_by_label(host):
    for label in ("canary", "stable", "stable"):
        host.ask("/v1/recognize", body=BODY, headers={**JSON, LABEL: label})
    host.ask("/v1/recognize", body=b"[]", headers={**JSON, LABEL: "canary"})  # never came to its models
    value = host.gateway.metrics.registry.get_sample_value
    info = [value("cleardigits_model_info", {"model": "denoiser", "version": str(version)}) for version in (1, 2)]

    assert value("cleardigits_label_requests_total", {"label": "canary", "status": "200"}) == 1
    assert value("cleardigits_label_requests_total", {"label": "canary", "status": "422"}) is None
    assert value("cleardigits_label_seconds_count", {"label": "stable"}) == 2
    assert info == [1, 1], "both answer, until one of the labels moves"


def test_without_a_split_no_answer_speaks_of_labels():
    with running("http", Gateway(GatewayConfig(), denoiser=fake_denoiser(), classifier=fake_classifier())) as host:
        reply = host.ask("/v1/recognize", body=BODY, headers={**JSON, STICKY: "user-17"})
        named = host.ask("/v1/recognize", body=BODY, headers={**JSON, LABEL: "canary"})

    assert b'"label"' not in reply.body and LABEL.lower() not in reply.headers
    assert named.status == 422
