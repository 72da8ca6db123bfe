"""One stack of containers for all the tests of this folder."""

import pytest

from tests.support.containers import Containers


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Builds and a training run take minutes on a small machine."""
    for item in items:
        if "containers" in item.path.parts:
            item.add_marker(pytest.mark.timeout(900))


@pytest.fixture(scope="session")
def containers(tmp_path_factory):
    """Up, on a models folder of its own; down in the end, whatever happened."""
    folder = tmp_path_factory.mktemp("containers")
    for parent in (folder, folder.parent, folder.parent.parent):
        parent.chmod(0o755)  # pytest keeps others out; the containers' user has to get in
    stack = Containers.in_folder(folder)
    started = stack.up()
    assert started.returncode == 0, started.stdout + started.stderr
    yield stack
    ended = stack.make.run("down", timeout_s=120)
    assert ended.returncode == 0, ended.stdout + ended.stderr
