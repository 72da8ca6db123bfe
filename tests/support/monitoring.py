"""Read deploy/prometheus and deploy/grafana as their programs do: rules, panels and the expressions inside."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
GRAFANA = ROOT / "deploy/grafana"
DASHBOARDS = sorted((GRAFANA / "dashboards").glob("*.json"))

# a selector of one of our series: its name, then its label matchers if it has any
SELECTOR = re.compile(r"(?<![\w:])((?:\w*:)?\w*(?:cleardigits|tensorflow|tfserving)[\w:]*|up(?=\{))(\{[^}]*\})?")


@dataclass(frozen=True, slots=True)
class Expression:
    """One PromQL expression and where it stands."""

    where: str
    promql: str


def rules(kind: str) -> Iterator[dict[str, Any]]:
    """Every rule that has the key `kind` ("alert" or "record")."""
    for path in sorted((PROMETHEUS / "rules").glob("*.yml")):
        for group in yaml.safe_load(path.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if kind in rule)


def panels(dashboard: Path) -> Iterator[dict[str, Any]]:
    """The panels that draw something (rows do not)."""
    yield from (panel for panel in json.loads(dashboard.read_text())["panels"] if panel["type"] != "row")


def panel_expressions(rate_interval: str) -> Iterator[Expression]:
    """Every expression of every panel, with Grafana's variable filled in."""
    for dashboard in DASHBOARDS:
        for panel in panels(dashboard):
            for target in panel["targets"]:
                yield Expression(panel["title"], target["expr"].replace("$__rate_interval", rate_interval))


def selectors(promql: str) -> list[str]:
    """The series an expression reads: `a{x="1"} > 2 * b` -> [`a{x="1"}`, `b`]."""
    return [name + (labels or "") for name, labels in SELECTOR.findall(promql)]
