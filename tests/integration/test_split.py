"""Two versions behind labels of one server: users are split between them, and the shadow asks by label too."""

import re
import time
from collections import Counter

import pytest
import requests

from services.gateway.split import LABEL, STICKY, Split
from tests.support.labelled import CONFUSED, LABELS, labelled_server
from tests.support.stack import running_stack
from tests.support.tiny_models import digits

OCTETS = {"Content-Type": "application/octet-stream", "Request-Timeout-Ms": "10000"}
SPLIT = "stable:60,canary:40"
PICTURES, TRUE = digits(20)
answered: Counter[str] = Counter()  # requests of all tests here, by label


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with labelled_server(tmp_path_factory.mktemp("split")) as server:
        settings = {
            "DENOISER_TARGET": server.target,
            "CLASSIFIER_TARGET": server.target,
            "SPLIT": SPLIT,
            "SHADOW_SHARE": "1",
            "SHADOW_LABEL": "canary",
        }
        with running_stack(gateway=settings) as stack:
            yield stack.url


def ask(url: str, **headers: str) -> tuple[str, set[int], list[int]]:
    """Label, versions and digits of an answer."""
    answer = requests.post(
        f"{url}/v1/recognize?preprocess=none", data=PICTURES.tobytes(), headers={**OCTETS, **headers}, timeout=15
    )
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert answer.headers[LABEL] == found["label"]
    answered[found["label"]] += 1
    return (
        found["label"],
        {model["version"] for model in found["models"].values()},
        [each["digit"] for each in found["results"]],
    )


def until(holds) -> None:
    ends = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.02)


def read_by(label: str) -> list[int]:
    swapped = dict(zip(CONFUSED, reversed(CONFUSED), strict=True)) if label == "canary" else {}
    return [swapped.get(int(digit), int(digit)) for digit in TRUE]


def test_a_key_always_gets_the_same_version_and_says_so(url):
    for key in [f"user-{number}" for number in range(8)] * 2:
        expected = Split.parsed(SPLIT).label_of({STICKY.lower(): key}, "")

        assert ask(url, **{STICKY: key}) == (expected, {LABELS[expected]}, read_by(expected))


def test_a_request_that_names_its_label_gets_it(url):
    for label, version in LABELS.items():
        assert ask(url, **{LABEL: label, STICKY: "user-1"}) == (label, {version}, read_by(label))


def test_a_version_in_the_address_is_the_one_that_answers(url):
    tensor = {"name": "images", "datatype": "FP32", "shape": [1, 28, 28, 1], "data": [0.0] * 784}
    for version in LABELS.values():
        for _ in range(4):
            answer = requests.post(
                f"{url}/v2/models/classifier/versions/{version}/infer", json={"inputs": [tensor]}, timeout=15
            )

            assert (answer.status_code, answer.json()["model_version"]) == (200, str(version))


def test_the_shadow_repeats_what_the_other_label_answered_and_not_its_own(url):
    def compared() -> float:
        page = requests.get(f"{url}/metrics", timeout=5).text
        found = re.findall(r'^cleardigits_shadow_pictures_total\{outcome="(?:agreed|differed)"\} (.*)$', page, re.M)
        return sum(map(float, found))

    for label in LABELS:
        ask(url, **{LABEL: label})
    expected = len(PICTURES) * answered["stable"]
    until(lambda: compared() >= expected)
    time.sleep(0.3)  # what must not come would have come

    assert compared() == expected
