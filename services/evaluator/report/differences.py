"""Where two versions differ, as one HTML page with the pictures."""

from __future__ import annotations

from collections.abc import Sequence

from services.evaluator.measure.gallery import data_uri
from services.evaluator.measure.versions import Readings, Verdict
from services.evaluator.report.html import style, templates

MOST = 400  # pictures on the page


def page(
    names: tuple[str, str], versions: Sequence[str], parts: Sequence[Readings], verdicts: Sequence[Verdict]
) -> str:
    """`verdicts` are those of `parts`, then the one over all."""
    pictures = [picture for part in parts for picture in _pictures(part)]
    template = templates().get_template("differences.html")
    return template.render(
        names=names,
        versions=versions,
        verdicts=verdicts,
        pictures=pictures[:MOST],
        total=len(pictures),
        style=style("colours.css"),
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
