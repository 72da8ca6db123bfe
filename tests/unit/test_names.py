"""One name means one thing: no two public classes of parts that meet share theirs."""

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("parts", [("services", "deploy"), ("training", "services/core")])
def test_no_two_classes_have_one_name(parts):
    names = Counter(
        node.name
        for part in parts
        for path in (ROOT / part).rglob("*.py")
        if "pb" not in path.parts  # generated, and named by others
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    )

    assert len(names) > 30
    assert [name for name, count in names.items() if count > 1] == []
