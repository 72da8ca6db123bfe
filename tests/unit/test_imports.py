"""Imports point one way: the rule of docs/ARCHITECTURE.md, read from every source file."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = {"gateway", "model_server", "evaluator"}
# who -> whose modules it may import besides its own
ALLOWED = {
    "services.pb": set(),
    "services.core": {"services.pb"},
    "services.runtime": {"services.core"},
    **{f"services.{name}": {"services.pb", "services.core", "services.runtime"} for name in sorted(SERVICES)},
    "training": {"services.core"},
}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _part(module: str) -> str:
    """`services.core.images.decode` -> `services.core`; `training.data.feed` -> `training`; others as they are."""
    names = module.split(".")
    return ".".join(names[:2]) if names[0] == "services" else names[0]


def _files(part: str) -> list[Path]:
    return sorted((ROOT / part.replace(".", "/")).rglob("*.py"))


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_what_lies_below_it(part):
    files = _files(part)
    assert files, f"{part} has no modules"
    wrong = {
        f"{path.relative_to(ROOT)} imports {module}"
        for path in files
        for module in _imports(path)
        if _part(module) in ALLOWED and _part(module) not in ALLOWED[part] | {part}
    }

    assert not wrong


def test_no_service_imports_tensorflow():
    """TensorFlow belongs to training; the model server may fall back to it, in its one engine module only."""
    wrong = {
        str(path.relative_to(ROOT))
        for name in SERVICES
        for path in _files(f"services.{name}")
        if any(module.split(".")[0] in {"tensorflow", "keras"} for module in _imports(path))
    }

    assert wrong <= {"services/model_server/engines/tensorflow.py"}


def _rooms(package: str) -> dict[str, set[str]]:
    """Each room of a package (a sub-package, or a module at its top) -> the rooms that it imports."""
    base, depth = ROOT / package.replace(".", "/"), package.count(".") + 1
    arrows: dict[str, set[str]] = {}
    for path in _files(package):
        room = path.relative_to(base).with_suffix("").parts[0]
        into = {module.split(".")[depth] for module in _imports(path) if module.startswith(f"{package}.")}
        arrows.setdefault(room, set()).update(into - {room})
    return arrows


@pytest.mark.parametrize("package", [*(f"services.{name}" for name in sorted(SERVICES)), "training"])
def test_the_rooms_of_a_package_form_no_circle(package):
    arrows = _rooms(package)

    assert len(arrows) > 5
    graphlib.TopologicalSorter(arrows).prepare()  # raises CycleError, naming the rooms
