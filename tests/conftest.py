"""Shared fixtures, and a mark for each test after the folder it lives in."""

from pathlib import Path

import numpy as np
import pytest

KINDS = {"unit", "contract", "conformance", "integration", "browser", "containers"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    for item in items:
        kind = item.path.relative_to(tests).parts[0]
        if kind in KINDS:
            item.add_marker(kind)


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers every time."""
    return np.random.default_rng(20260101)
