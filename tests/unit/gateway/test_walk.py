"""The way of one picture through the source: how many files it passes, and which it enters more than once."""

import asyncio
import sys
import time
from collections import Counter
from pathlib import Path
from types import FrameType

import cv2
import numpy as np
import pytest

from services.gateway.config import GatewayConfig
from services.gateway.gateway import Gateway
from tests.support.fakes import FakeModel, fake_classifier, fake_denoiser

SERVICES = str(Path(__file__).parents[3] / "services") + "/"


@pytest.fixture
def entered() -> list[tuple[str, str]]:
    """File and function of each call from one file of the services into another, for one PNG with the models' fakes."""
    calls: list[tuple[str, str]] = []
    png = cv2.imencode(".png", np.arange(784, dtype=np.uint8).reshape(28, 28))[1].tobytes()

    def watch(frame: FrameType, event: str, _: object) -> None:
        file = frame.f_code.co_filename
        if event == "call" and (frame.f_back is None or frame.f_back.f_code.co_filename != file):
            if file.startswith(SERVICES):
                calls.append((file.removeprefix(SERVICES), frame.f_code.co_name))
            elif frame.f_code is FakeModel.predict.__code__:
                sys.setprofile(None)  # the way in ends where the first model is asked

    async def receive() -> bytes:
        sys.setprofile(watch)
        return png

    async def ask() -> int:
        gateway = Gateway(GatewayConfig(access_log="none"), denoiser=fake_denoiser(), classifier=fake_classifier())
        operation = next(each for each in gateway.operations if each.rule == "/v1/recognize")
        headers = {"content-type": "image/png"}
        request = gateway.admission.enter("POST", operation.rule, "", headers, "127.0.0.1", time.monotonic())
        try:
            return (await gateway.respond(request, operation, receive)).status
        finally:
            sys.setprofile(None)
            await gateway.close()

    assert asyncio.run(ask()) == 200
    return calls


def test_a_picture_passes_few_files_from_body_to_model_and_enters_hardly_any_twice(entered):
    files = Counter(file for file, _ in entered)

    assert len(files) <= 19
    assert {file for file, count in files.items() if count > 1} == {
        "core/preprocessing.py",  # pictures stay whole numbers, a quarter of the memory, until their slice's turn
        "gateway/reading/batching.py",  # joins the queue, and leaves it when the loop starts the batch
        "gateway/metrics.py",  # counts both,
        "gateway/histograms.py",  # in these
    }
