"""Shared fixtures, a mark for each test after the folder it lives in, and the home that promises are tested in."""

from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest

from tests.support.containers import Containers
from tests.support.homes import Home, local_home

KINDS = {"unit", "contract", "conformance", "integration", "promises", "browser", "containers"}
CONTAINERS_TIMEOUT_S = 900  # builds and a training run take minutes on a small machine

# an example may take as long as a slow or busy machine needs; pytest's timeout ends what hangs
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--home",
        default="local",
        help="the chain that tests/promises and tests/browser ask: local (processes), containers, or a URL",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    tests = Path(__file__).parent
    items.sort(key=lambda item: "training" not in item.path.parts)  # the longest first: workers end together
    for item in items:
        kind = item.path.relative_to(tests).parts[0]
        if kind in KINDS:
            item.add_marker(kind)
        if kind == "containers" or config.getoption("--home") == "containers":
            item.add_marker(pytest.mark.timeout(CONTAINERS_TIMEOUT_S))


@pytest.fixture
def rng() -> np.random.Generator:
    """The same random numbers every time."""
    return np.random.default_rng(20260101)


@pytest.fixture(scope="session")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """Up, on a models folder of its own; down in the end, also after an error."""
    folder = tmp_path_factory.mktemp("containers")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # pytest keeps others out; the containers' user has to get in
    stack = Containers.in_folder(folder)
    started = stack.up()
    assert started.returncode == 0, started.stdout + started.stderr
    yield stack
    ended = stack.make.run("down", timeout_s=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.fixture(scope="session")
def home(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """Where the chain runs: the same tests ask the same promises of each home."""
    place = request.config.getoption("--home")
    if place == "containers":
        yield Home(request.getfixturevalue("containers").url)
    elif place == "local":
        with local_home(tmp_path_factory.mktemp("home")) as started:
            yield started
    else:
        yield Home(place.rstrip("/"))
