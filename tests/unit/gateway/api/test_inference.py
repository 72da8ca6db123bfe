"""Asking a model by name and version, whatever protocol the question came by."""

import asyncio

import numpy as np
import pytest

from services.core.errors import NotFoundError
from services.gateway.admission.admission import Admission
from services.gateway.api.inference import Inference
from services.gateway.api.offered_models import DENOISED, IMAGES, Inferred
from services.gateway.api.readiness import ReadinessCheck
from services.gateway.config import GatewayConfig
from services.gateway.messages.oip import InferRequest
from services.gateway.metrics import Metrics


class RolledOut:
    """A model that answers with version 2, though version 1 was there when it was looked for."""

    platform = "tensorflow_savedmodel"
    inputs = (IMAGES,)
    outputs = (DENOISED,)

    async def versions(self):
        return ("2", "1")

    async def infer(self, images, parameters, *, call):
        return Inferred({"denoised": images}, "2", {})


@pytest.mark.parametrize(("version", "answered"), [("2", True), (None, True), ("1", False)])
def test_an_answer_of_another_version_than_the_one_that_was_named_is_not_given(version, answered):
    config, metrics, model = GatewayConfig(), Metrics(), RolledOut()
    readiness = ReadinessCheck({}, draining=lambda: False, required=frozenset())
    inference = Inference({"denoiser": model}, model, readiness, config.limits, metrics)
    request = Admission(config, metrics).enter("POST", "/v2/models/denoiser/infer", "", {}, "", 0.0)
    images = np.zeros((1, 28, 28, 1), np.float32)
    asked = InferRequest(images, id=None, parameters={}, outputs=None, binary={}, binary_by_default=False)
    answering = inference.infer(request, asked, model, "denoiser", version)

    if answered:
        assert asyncio.run(answering).version == "2"
    else:
        with pytest.raises(NotFoundError, match="has no version 1 any more; 2 has taken its place"):
            asyncio.run(answering)
