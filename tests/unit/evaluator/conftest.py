"""A fake gateway on tiny models, and a data set that these can read."""

import numpy as np
import pytest

from tests.support.fake_gateway import fake_gateway
from tests.support.tiny_models import digits, write_tiny_models


@pytest.fixture(scope="session")
def tiny_models(tmp_path_factory):
    return write_tiny_models(tmp_path_factory.mktemp("models"))


@pytest.fixture
def gateway(tiny_models):
    with fake_gateway(tiny_models) as running:
        yield running


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory):
    """120 readable digits as an npz file."""
    path = tmp_path_factory.mktemp("data") / "tiny.npz"
    pixels, labels = digits(120)
    np.savez(path, x=pixels, y=labels)
    return path
