"""A shadow reads what users were answered; dead, frozen or wrong, no user notices."""

import re
import time

import pytest
import requests

from deploy.stack.chain import wait_until
from tests.support.labelled import CONFUSED, labelled_server, shadowed_by
from tests.support.stack import running_stack
from tests.support.tiny_models import digits, write_tiny_models

OCTETS = {"Content-Type": "application/octet-stream", "Request-Timeout-Ms": "10000"}
PICTURES, LABELS = digits(200)
WITHIN_S = 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A stack of version 1, and a server of its own for the shadow: (stack, the shadow's process)."""
    folder = tmp_path_factory.mktemp("shadow")
    users = write_tiny_models(folder / "users")
    with labelled_server(folder) as shadow:
        with running_stack(users, shadowed_by(shadow)) as stack:
            assert wait_until(lambda: ask(stack.url, 1) and pictures(stack.url)["agreed"], timeout_s=WITHIN_S)
            yield stack, shadow.child


@pytest.fixture
def shadowed(shared):
    """Both again in order after each test."""
    stack, shadow = shared
    yield shared
    if shadow.running():
        shadow.thaw()
    else:
        shadow.start()
    before = pictures(stack.url)["agreed"]
    assert wait_until(lambda: ask(stack.url, 1) and pictures(stack.url)["agreed"] > before, timeout_s=WITHIN_S)


def ask(url: str, count: int, start: int = 0) -> float:
    """One request of so many pictures, read rightly by version 1; the seconds it took."""
    body = PICTURES[start : start + count].tobytes()
    answer = requests.post(f"{url}/v1/recognize?preprocess=none", data=body, headers=OCTETS, timeout=10)
    assert answer.status_code == 200, answer.text
    assert answer.json()["models"]["classifier"]["version"] == 1
    assert [result["digit"] for result in answer.json()["results"]] == LABELS[start : start + count].tolist()
    return answer.elapsed.total_seconds()


def counters(url: str, name: str) -> dict[str, float]:
    """Labels -> count, of the series of one counter."""
    page = requests.get(f"{url}/metrics", timeout=5).text
    return {labels: float(value) for labels, value in re.findall(rf"^{name}\{{(.*)\}} (.*)$", page, re.MULTILINE)}


def pictures(url: str) -> dict[str, float]:
    found = counters(url, "cleardigits_shadow_pictures_total")
    return {labels.removeprefix('outcome="').removesuffix('"'): count for labels, count in found.items()}


def settled(url: str) -> dict[str, float]:
    """The counts, once each picture that was answered is in one of them."""
    assert wait_until(
        lambda: sum(pictures(url).values()) == sum(counters(url, "cleardigits_digits_total").values()),
        timeout_s=WITHIN_S,
    )
    return pictures(url)


def test_the_label_is_asked_and_where_it_differs_is_counted(shadowed):
    stack, _ = shadowed
    before, differed = settled(stack.url), counters(stack.url, "cleardigits_shadow_disagreements_total")
    confused = sum(int(label) in CONFUSED for label in LABELS)

    for start in range(0, 200, 20):
        ask(stack.url, 20, start)

    counted = settled(stack.url)
    after = counters(stack.url, "cleardigits_shadow_disagreements_total")
    assert counted["agreed"] - before["agreed"] == 200 - confused
    assert counted["differed"] - before["differed"] == confused
    for answered, shadowed_digit in (CONFUSED, CONFUSED[::-1]):
        pair = f'answered="{answered}",shadow="{shadowed_digit}"'
        assert after[pair] - differed.get(pair, 0) == int((answered == LABELS).sum())
    assert counters(stack.url, "cleardigits_shadow_model_info") == {
        'model="denoiser",version="2"': 1, 'model="classifier",version="2"': 1,
    }  # fmt: skip


def test_a_dead_shadow_costs_counts_alone_and_is_asked_again_when_it_is_back(shadowed):
    stack, shadow = shadowed
    before = settled(stack.url)
    shadow.kill()

    for start in range(0, 100, 10):
        ask(stack.url, 10, start)
    assert wait_until(lambda: pictures(stack.url)["failed"] > before["failed"], timeout_s=WITHIN_S)

    assert requests.get(f"{stack.url}/readyz", timeout=5).status_code == 200
    shadow.start()
    agreed = pictures(stack.url)["agreed"]
    assert wait_until(lambda: ask(stack.url, 1) and pictures(stack.url)["agreed"] > agreed, timeout_s=WITHIN_S)


def test_a_frozen_shadow_fills_its_queue_and_users_are_answered_as_ever(shadowed):
    stack, shadow = shadowed
    before = settled(stack.url)
    shadow.freeze()

    took_s = [ask(stack.url, 20, start) for _ in range(5) for start in range(0, 200, 20)]
    lost = pictures(stack.url)

    assert sorted(took_s)[len(took_s) // 2] < 0.5  # the shadow's deadline is 2 s
    assert lost["dropped"] - before["dropped"] >= 1000 - 512 - 2 * 20
    assert wait_until(lambda: pictures(stack.url)["failed"] > before["failed"], timeout_s=WITHIN_S)


def test_the_gateway_stops_at_once_beside_a_frozen_shadow(tmp_path):
    with labelled_server(tmp_path) as shadow:
        with running_stack(write_tiny_models(tmp_path / "users"), shadowed_by(shadow)) as stack:
            assert wait_until(lambda: ask(stack.url, 1) and pictures(stack.url)["agreed"], timeout_s=WITHIN_S)
            shadow.child.freeze()
            ask(stack.url, 10)
            started = time.monotonic()
            status = stack.gateway.stop()
            took_s = time.monotonic() - started
            said = stack.gateway.output()

    assert status == 0
    assert took_s < 5
    assert "Traceback" not in said
