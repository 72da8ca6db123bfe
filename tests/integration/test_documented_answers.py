"""The sample answers in README.md and docs/API.md are what the commands above them print, from the shipped pair."""

import json
import re
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.stack import ROOT, Stack, running_stack

ADDRESS = "http://127.0.0.1:8080"
SAMPLES = {
    "docs/API.md": re.compile(r"```sh\n(?P<command>curl [^\n]+)\n```\s+```json\n(?P<answer>\{.*?\n\})\n```", re.DOTALL),
    "README.md": re.compile(r"^try +(?P<command>curl [^\n]+)\n\n(?P<answer>\{.*?\})\n```", re.DOTALL | re.MULTILINE),
}


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    with running_stack() as running:
        yield running


def comparable(answer: dict[str, Any]) -> Any:
    """An answer without what changes from call to call, the id and how long each stage took, nor from CPU to CPU."""
    return rounded({**answer, "request_id": "any", "timings_ms": list(answer["timings_ms"])})


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: rounded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [rounded(inner) for inner in value]
    return round(value, 5) if isinstance(value, float) else value


@pytest.mark.parametrize("document", SAMPLES)
def test_the_sample_answer_is_what_its_command_prints(stack, document):
    sample = SAMPLES[document].search((ROOT / document).read_text())
    assert sample, f"no sample answer in {document}"

    command = sample["command"].replace(ADDRESS, stack.url).replace("curl ", "curl -sS ", 1)
    printed = subprocess.run(["bash", "-c", command], cwd=ROOT, check=True, capture_output=True, text=True).stdout

    shown = json.loads(sample["answer"].replace("\n", ""))
    assert comparable(shown) == comparable(json.loads(printed)), f"{document} should show {printed}"
    assert len(shown["request_id"]) == 32
    assert all(ms > 0 for ms in shown["timings_ms"].values())
