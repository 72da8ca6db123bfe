"""Two versions behind labels of one server: users are split between them, and the shadow asks by label too."""

import re
from collections import Counter

import numpy as np
import pytest
import requests

from deploy.stack.chain import wait_until
from services.core.images import encode_png
from services.evaluator import compare_versions
from services.gateway.split import LABEL, STICKY, Split
from tests.support.labelled import CONFUSED, LABELS, labelled_server
from tests.support.stack import ROOT, running_stack
from tests.support.tiny_models import digits

OCTETS = {"Content-Type": "application/octet-stream", "Request-Timeout-Ms": "10000"}
SPLIT = "stable:60,canary:40"
PICTURES, TRUE = digits(20)
WITHIN_S = 20
answered: Counter[str] = Counter()  # requests of all tests here, by label
lines: Counter[str] = Counter()  # of lines
LINE = (ROOT / "docs/samples/number-1112-touching.png").read_bytes()
SHADOW_NUMBERS = r'^cleardigits_shadow_numbers_total\{outcome="(agreed|differed)"\} (.*)$'


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


def test_lines_are_split_like_digits_and_shadowed(url):
    """A line goes by the same key; what the label reads is its own, and the shadow is offered `stable`'s alone."""

    def compared() -> dict[str, float]:
        page = requests.get(f"{url}/metrics", timeout=5).text
        return {name: float(count) for name, count in re.findall(SHADOW_NUMBERS, page, re.M)}

    label_of = {key: Split.parsed(SPLIT).label_of({STICKY.lower(): key}, "") for key in map("user-{}".format, range(8))}
    for key, expected in sorted(label_of.items(), key=lambda item: item[1]):  # the shadow's queue keeps the order:
        # when the last of `stable` is counted, any of `canary` would be
        answer = requests.post(
            f"{url}/v1/read", data=LINE, timeout=15,
            headers={"Content-Type": "image/png", "Request-Timeout-Ms": "10000", STICKY: key},
        )  # fmt: skip

        assert answer.status_code == 200, answer.text
        assert (answer.headers[LABEL], answer.json()["label"]) == (expected, expected)
        assert {model["version"] for model in answer.json()["models"].values()} == {LABELS[expected]}
        lines[expected] += 1
    assert min(lines.values()) > 0
    assert wait_until(lambda: sum(compared().values()) >= lines["stable"], timeout_s=WITHIN_S)

    assert sum(compared().values()) == lines["stable"]


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

    for label in ("canary", "stable"):  # the shadow's queue keeps the order, as above
        ask(url, **{LABEL: label})
    expected = len(PICTURES) * answered["stable"]
    assert wait_until(lambda: compared() >= expected, timeout_s=WITHIN_S)

    assert compared() == expected


@pytest.fixture
def labelled_digits(tmp_path):
    path = tmp_path / "digits.npz"
    pixels, labels = digits(200)
    np.savez(path, x=pixels, y=labels)
    return path


def compare(url, dataset, tmp_path, *arguments: str) -> int:
    return compare_versions.main(
        [*arguments, "--url", url, "--dataset", str(dataset), "--report", str(tmp_path / "report"), "--noise"]
    )


def test_versions_are_compared_on_the_same_pictures(url, labelled_digits, tmp_path, capsys):
    _, labels = digits(200)
    confused = sum(int(label) in CONFUSED for label in labels)
    status = compare(url, labelled_digits, tmp_path, "stable", "canary", "--require", "agreement>=0.99")
    said = capsys.readouterr().out
    page = (tmp_path / "report/differences.html").read_text()

    assert status == compare_versions.MISSED
    assert f"clean: 200 pictures, agreement {(200 - confused) / 2:.2f} %" in said
    assert f"right 100.00 and {(200 - confused) / 2:.2f} %" in said
    assert f"  3 read as 5: {int((labels == 3).sum())}" in said
    assert "agreement>=0.99: MISSED" in said
    assert page.count("<img") == confused


def test_what_is_required_and_met_is_status_0(url, labelled_digits, tmp_path):
    assert compare(url, labelled_digits, tmp_path, "--require", "agreement>=0.5", "--require", "accuracy>=0.5") == 0


def test_a_label_is_not_compared_with_itself_nor_with_one_that_is_not_there(url, labelled_digits, tmp_path, capsys):
    assert compare(url, labelled_digits, tmp_path, "canary", "canary") == 3
    assert "are the same: denoiser 2, classifier 2" in capsys.readouterr().err
    assert compare(url, labelled_digits, tmp_path, "stable", "beta") == 3
    assert "there is stable, canary" in capsys.readouterr().err


def test_pictures_without_labels_are_compared_too(url, tmp_path, capsys):
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, picture in enumerate(PICTURES):
        (folder / f"{number:02}.png").write_bytes(encode_png(picture[..., None] / np.float32(255)))
    arguments = ["--url", url, "--pictures", str(folder), "--report", str(tmp_path / "report"), "--noise"]

    assert compare_versions.main(arguments) == 0
    said = capsys.readouterr().out
    assert f"clean: {len(PICTURES)} pictures, agreement" in said and "right" not in said
