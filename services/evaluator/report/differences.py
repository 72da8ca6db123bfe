"""Where two versions differ, as one HTML page with the pictures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.evaluator.measure.gallery import data_uri
from services.evaluator.measure.versions import Readings, Verdict

MOST = 400  # pictures on the page

_TEMPLATES = Path(__file__).with_name("templates")


def page(
    names: tuple[str, str], versions: Sequence[str], parts: Sequence[Readings], verdicts: Sequence[Verdict]
) -> str:
    """`verdicts` are those of `parts`, then the one over all."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    pictures = [picture for part in parts for picture in _pictures(part)]
    return environment.get_template("differences.html").render(
        names=names,
        versions=versions,
        verdicts=verdicts,
        pictures=pictures[:MOST],
        total=len(pictures),
        style=Markup((_TEMPLATES / "colours.css").read_text(encoding="utf-8")),
    )


def _pictures(part: Readings) -> list[dict[str, object]]:
    return [
        {
            "kind": part.kind,
            "picture": data_uri(part.images[at]) if place < MOST else "",
            "label": None if part.labels is None else int(part.labels[at]),
            "first": int(part.first[at].argmax()),
            "first_confidence": float(part.first[at].max()),
            "second": int(part.second[at].argmax()),
            "second_confidence": float(part.second[at].max()),
        }
        for place, at in enumerate(part.differing)
    ]
