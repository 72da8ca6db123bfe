"""docs/OPERATIONS.md: its links lead somewhere, its commands exist, its capacity table is the benchmark's."""

import json
import re

import pytest

from deploy import capacity
from services.gateway.config import PREFIX, GatewayConfig

RUNBOOK = capacity.RUNBOOK.read_text()
MAKEFILE = (capacity.ROOT / "Makefile").read_text()
LINKS = re.findall(r"\]\(([^)\s]+)\)", RUNBOOK)


def anchors(text: str) -> set[str]:
    """What a heading is called in a link."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("link", sorted(set(LINKS)))
def test_links_lead_somewhere(link):
    path, _, anchor = link.partition("#")
    target = (capacity.RUNBOOK.parent / path).resolve() if path else capacity.RUNBOOK

    assert target.exists()
    if anchor:
        assert anchor in anchors(target.read_text())


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make ((?:[a-z][a-z-]*|\.venvs/\w+)\b)", RUNBOOK))))
def test_make_targets_exist(target):
    assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE)


def test_settings_named_in_the_runbook_exist():
    for name in set(re.findall(rf"\b{PREFIX}([A-Z_]+[A-Z])\b(?!_?\*)", RUNBOOK)):
        assert name.lower() in GatewayConfig.__dataclass_fields__


def test_the_capacity_table_is_what_the_benchmark_says():
    written = capacity.SECTION.search(RUNBOOK).group()
    expected = capacity.table(json.loads(capacity.BENCHMARK.read_text())) if capacity.BENCHMARK.exists() else ""

    assert written == f"<!-- capacity -->\n{expected}<!-- /capacity -->", "run make capacity"


@pytest.mark.parametrize(("per_day", "cores"), [(86_400, 1), (8_640_000, 3), (86_400_000, 25)])
def test_cores_follow_from_the_busiest_minute_and_the_share_that_is_used(per_day, cores):
    found = capacity.plan(per_day, per_core=200, share=0.6, peak=3)

    assert found.peak_per_s == pytest.approx(3 * per_day / 86_400)
    assert found.cores == cores
