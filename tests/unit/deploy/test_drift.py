"""The rules for drift: from the card or from live counts; quiet on ordinary hours, loud when a scanner changes."""

import json
import math

import numpy as np
import pytest

from deploy import drift
from services.core.noise import NOISES
from services.core.noise_level import estimate
from services.evaluator.in_process import InProcessChain
from services.gateway.metrics import Metrics
from services.gateway.reading.chain import Reading
from tests.support import monitoring
from tests.support.drawings import in_mnist_frame
from tests.support.stack import SHIPPED

THRESHOLD = 0.2  # as in the alert
WINDOWS, PICTURES = 1000, 500  # the fewest pictures an hour that the alert listens to
POOL = 800


def card():
    return json.loads((monitoring.ROOT / f"models/classifier/{SHIPPED}/model_card.json").read_text())


def psi(shares, reference):
    """What the recording rule computes; the rule's own figures: deploy/prometheus/tests."""
    pairs = [(max(a, drift.FLOOR), max(b, drift.FLOOR)) for a, b in zip(shares, reference, strict=True)]
    return sum((a - b) * math.log(a / b) for a, b in pairs)


def test_the_committed_rules_are_those_of_the_newest_card():
    source = f'the card of classifier {SHIPPED}, "clean"'

    assert drift.RULES.read_text() == drift.rules(drift.from_card(card(), "clean"), source)


@pytest.mark.parametrize("name", ["clean", "gaussian 0.5"])
def test_shares_of_a_card_keep_their_sum(name):
    for quantity, shares in drift.from_card(card(), name).items():
        assert len(shares) == len(drift.EDGES[quantity]) + 1
        assert sum(shares) == pytest.approx(1, abs=1e-3)


def test_every_edge_is_a_bucket_of_the_gateway():
    metrics = Metrics()
    answered(metrics, np.zeros((1, 28, 28, 1), np.float32), np.full(1, 0.9))
    lines = metrics.text().decode().splitlines()

    for quantity, edges in drift.EDGES.items():
        buckets = "".join(line for line in lines if line.startswith(f"cleardigits_{quantity}_bucket"))
        assert all(f'le="{edge}"' in buckets for edge in edges)


def answered(metrics, images, confidences):
    reading = Reading(
        digits=np.zeros(len(images), int),
        scores=np.zeros((len(images), 10), np.float32),
        confidences=confidences,
        is_digit=np.ones(len(images)),
        pictures=(),
        applied=np.ones(len(images), bool),
        denoiser_version=2,
        classifier_version=2,
    )
    metrics.pictures_read(images, reading, 0.6)


@pytest.fixture(scope="module")
def observed():
    """Pictures -> noise level and confidence of each, by the shipped pair."""
    chain = InProcessChain(monitoring.ROOT / "models", **card()["chain"])
    rng = np.random.default_rng(4)

    def observe(kind=None, level=0.0):
        clean = in_mnist_frame(rng.integers(0, 10, POOL), rng)[..., None] / np.float32(255)
        pictures = NOISES[kind](clean, level, rng) if kind else clean
        confidences = chain.classify(chain.denoise(pictures)).max(axis=1)
        return pictures, {"noise_level": estimate(pictures), "confidence": confidences}

    return observe


@pytest.fixture(scope="module")
def reference(observed):
    """Of the service's own ordinary traffic, as its gateway counted it."""
    metrics = Metrics()
    for _ in range(3):
        pictures, found = observed()
        for start in range(0, POOL, 50):
            answered(metrics, pictures[start : start + 50], found["confidence"][start : start + 50])
    return drift.from_metrics(metrics.text().decode())


def windows(found, count, rng):
    """The indices of `count` hours, each of pictures drawn from what was observed."""
    for _ in range(count):
        chosen = rng.integers(POOL, size=PICTURES)
        yield {quantity: shares(quantity, values[chosen]) for quantity, values in found.items()}


def shares(quantity, values):
    places = np.searchsorted(drift.EDGES[quantity], values, side="left")
    return np.bincount(places, minlength=len(drift.EDGES[quantity]) + 1) / len(values)


def test_a_thousand_ordinary_hours_are_quiet(observed, reference, rng):
    _, found = observed()
    highest = dict.fromkeys(drift.EDGES, 0.0)
    for hour in windows(found, WINDOWS, rng):
        for quantity, live in hour.items():
            highest[quantity] = max(highest[quantity], psi(live, reference[quantity]))

    assert max(highest.values()) < THRESHOLD, highest


@pytest.mark.parametrize(("kind", "level"), [("stripes", 0.75), ("low_contrast", 0.5), ("gaussian", 0.25)])
def test_a_scanner_that_changes_is_noticed_within_any_hour(observed, reference, rng, kind, level):
    _, found = observed(kind, level)
    for hour in windows(found, 100, rng):
        assert max(psi(live, reference[quantity]) for quantity, live in hour.items()) > THRESHOLD


def test_too_few_pictures_are_no_reference():
    metrics = Metrics()
    answered(metrics, np.zeros((10, 28, 28, 1), np.float32), np.full(10, 0.9))

    with pytest.raises(ValueError, match="10 pictures are too few for a reference"):
        drift.from_metrics(metrics.text().decode())


def test_the_command_says_which_references_there_are(capsys, tmp_path):
    assert drift.main(["--reference", "foggy", "--out", str(tmp_path / "drift.yml")]) == 1
    assert "it has clean, gaussian 0.5" in capsys.readouterr().err
    assert drift.main(["--reference", "gaussian 0.5", "--out", str(tmp_path / "drift.yml")]) == 0
    assert "the card of classifier" in (tmp_path / "drift.yml").read_text()
