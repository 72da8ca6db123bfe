"""The whole loop: pictures that the shipped pair reads badly are kept, labelled, trained on, and read better after."""

import dataclasses
import io
import json
import logging
import shutil

import numpy as np
import pytest
import requests

from deploy.stack.chain import wait_until
from services.core.noise import gaussian
from services.evaluator.corrections.__main__ import main as corrections
from tests.support.drawings import hollow, in_mnist_frame
from tests.support.stack import MODELS, SHIPPED, running_stack
from training import job, runs
from training.config import TrainingConfig
from training.data.dataset import split
from training.data.extra import load_extra

AT_ONCE = 50  # pictures of a request, all of which are kept
CORRECTED, ASKED, ORDINARY = 300, 300, 2560
EPOCHS = 4

# Keras 3.15 converts TensorFlow variables with NumPy's older protocol.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
    pytest.mark.timeout(900),  # about a minute of two processors, and more where other work takes them
]


def drawn(count, rng):
    labels = rng.integers(0, 10, count)
    return in_mnist_frame(labels, rng), labels


def noisy(pictures, rng):
    read = pictures[..., None] / np.float32(255)
    return np.rint(255 * gaussian(read.astype(np.float32), 0.5, rng)[..., 0]).astype(np.uint8)


def ask(url, pictures):
    """Request ids and digits, in order."""
    answers = []
    for start in range(0, len(pictures), AT_ONCE):
        body = io.BytesIO()
        np.save(body, pictures[start : start + AT_ONCE])
        headers = {"Content-Type": "application/x-npy"}
        answer = requests.post(f"{url}/v1/recognize?preprocess=none", body.getvalue(), headers=headers, timeout=30)
        assert answer.status_code == 200, answer.text
        answers.append(answer.json())
    return answers


def share_read_right(url, pictures, labels):
    digits = [result["digit"] for answer in ask(url, pictures) for result in answer["results"]]
    return float(np.mean(np.array(digits) == labels))


def served_version(url):
    models = ask(url, np.zeros((1, 28, 28), np.uint8))[0]["models"]
    return models["denoiser"]["version"], models["classifier"]["version"]


def test_what_was_read_badly_is_corrected_learnt_and_read_better(tmp_path, rng, caplog):
    caplog.set_level(logging.INFO, logger="training.job")  # the gate's comparison, where this fails
    models, kept, exported = tmp_path / "models", tmp_path / "captures", tmp_path / "corrections.npz"
    shutil.copytree(MODELS, models)
    test_pictures, test_labels = drawn(ASKED, rng)
    sets = {
        "hollow": hollow(test_pictures),
        "ordinary": test_pictures,
        "noisy": noisy(test_pictures, rng),
    }
    settings = {"CAPTURE_DIR": str(kept), "CAPTURE_SHARE": "0", "MIN_CONFIDENCE": "1", "REQUEST_TIMEOUT_MS": "30000"}
    with running_stack(models, settings) as stack:
        before = {name: share_read_right(stack.url, pictures, test_labels) for name, pictures in sets.items()}

        pictures, labels = drawn(CORRECTED, rng)
        truths = iter(labels.tolist())
        session = requests.Session()
        for answer in ask(stack.url, hollow(pictures)):
            for index, label in zip(range(answer["count"]), truths, strict=False):
                body = {"request_id": answer["request_id"], "index": index, "label": label}
                assert session.post(f"{stack.url}/v1/feedback", json=body, timeout=10).status_code == 200
        assert corrections([str(kept), "--export", str(exported)]) == 0
        extra = load_extra(exported)
        assert len(extra.train) + len(extra.held_back) == CORRECTED

        train_pictures, train_labels = drawn(ORDINARY, rng)
        arrays = {"x_train": train_pictures, "y_train": train_labels, "x_test": test_pictures, "y_test": test_labels}
        data = split(arrays, validation=500, seed=1)
        config = TrainingConfig(start_from=SHIPPED, models=str(models), epochs=EPOCHS, extra=str(exported))
        data = dataclasses.replace(data, test=data.test[:50], extra=extra)
        outcome = runs.train(config, data, tmp_path / "run")
        measured = job.report(config, data, outcome, tmp_path / "run")
        published = job.publish(config, data, outcome, measured, models)
        assert wait_until(lambda: served_version(stack.url) == (SHIPPED + 1, SHIPPED + 1), timeout_s=60, every_s=0.2)
        after = {name: share_read_right(stack.url, pictures, test_labels) for name, pictures in sets.items()}
    card = json.loads((models / "classifier" / str(SHIPPED + 1) / "model_card.json").read_text())

    assert published == {"denoiser": SHIPPED + 1, "classifier": SHIPPED + 1}
    assert card["training"]["extra"]["sha256"] == extra.sha256
    assert card["training"]["extra"]["digits"] == CORRECTED
    assert before["hollow"] < 0.5
    assert after["hollow"] > before["hollow"] + 0.3
    assert after["ordinary"] >= before["ordinary"] - 0.01
    assert after["noisy"] >= before["noisy"] - 0.01
