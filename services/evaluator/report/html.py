"""One self-contained HTML file from results: no network, no script needed, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.evaluator.errors import ReportError
from services.evaluator.measure.compare import Change
from services.evaluator.measure.gallery import Exhibit
from services.evaluator.measure.requirements import Requirement
from services.evaluator.measure.results import ARMS, CLEAN, Cell, Confusion, Quality, Results
from services.evaluator.report import plots

_TEMPLATES = Path(__file__).with_name("templates")


def html(
    results: Results,
    pictures: Mapping[str, Sequence[Exhibit]],
    *,
    changes: Sequence[Change] = (),
    requirements: Sequence[Requirement] = (),
) -> str:
    """The report as one page."""
    environment = templates()
    environment.filters |= {"percent": _percent, "words": plots.words, "where": plots.where, "p": _p_value, "ms": _ms}
    environment.filters["cell_of"] = lambda arm, noise, level: results.cell(noise, level, arm)
    measured = [case for case in results.latencies if case.ms]
    drawings = {
        "accuracy": _drawn(partial(plots.accuracy, results)) if results.noises() else "",
        "quality": _drawn(partial(plots.quality, _at_headline(results))) if results.qualities else "",
        "reliability": _drawn(partial(plots.reliability, results.reliabilities)) if results.reliabilities else "",
        "distribution": _drawn(partial(plots.latency_distribution, measured[0])) if measured else "",
        "percentiles": _drawn(partial(plots.percentiles, measured)) if measured else "",
        "stages": _drawn(partial(plots.stages, measured)) if measured else "",
    }
    return environment.get_template("report.html").render(
        results=results,
        drawings={name: Markup(drawing) for name, drawing in drawings.items()},  # made here, from numbers
        style=style("colours.css", "report.css"),
        arms=ARMS,
        clean=CLEAN,
        headline=_headline_cells(results),
        confusions=[(each, _shares(each)) for each in results.confusions],
        galleries=_galleries(results, pictures),
        worst=pictures.get("worst", ()),
        rejects=[cell for cell in results.cells if cell.arm == "always" and cell.error_at_read],
        changes=sorted(changes, key=lambda change: (not change.significant, change.points)),
        requirements=[(each.text, each.measured(results), each.met(results)) for each in requirements],
    )


def templates() -> Environment:
    """The pages beside this file; a value that is missing is an error."""
    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def style(*names: str) -> Markup:
    """Style sheets, to stand in a page."""
    return Markup("".join((_TEMPLATES / name).read_text(encoding="utf-8") for name in names))


def write(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Save everything a run leaves behind; raises ReportError when the folder cannot take it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            data = content if isinstance(content, bytes) else content.encode()
            (folder / name).write_bytes(data)
    except OSError as exc:
        raise ReportError(f"cannot write to {folder}: {exc.strerror}; name another folder with --report") from exc


class _Draw(Protocol):
    def __call__(self, *, narrow: bool) -> str: ...


def _drawn(draw: _Draw) -> str:
    """A drawing for either width; the style sheet shows the one that fits."""
    return f'<div class="wide">{draw(narrow=False)}</div><div class="narrow">{draw(narrow=True)}</div>'


def _headline_cells(results: Results) -> dict[str, Cell | None]:
    found = results.headline()
    at = found or (CLEAN, 0.0)
    return {
        "clean": results.cell(CLEAN, 0.0, "always"),
        "clean_plain": results.cell(CLEAN, 0.0, "never"),
        "noisy": results.cell(*at, "never") if found else None,
        "denoised": results.cell(*at, "always") if found else None,
        "auto": results.cell(*at, "auto") if found else None,
    }


def _at_headline(results: Results) -> list[Quality]:
    headline = results.headline()
    level = headline[1] if headline else 0.0
    chosen = [each for each in results.qualities if each.level == level]
    return chosen or results.qualities


def _galleries(results: Results, pictures: Mapping[str, Sequence[Exhibit]]) -> list[tuple[str, Sequence[Exhibit]]]:
    """Every noise at the headline level; the headline noise at every level."""
    headline = results.headline()
    return [
        (plots.where(group[0].noise, group[0].level), group)
        for name, group in pictures.items()
        if name != "worst" and group and headline and (group[0].level == headline[1])
    ]


def _shares(confusion: Confusion) -> list[list[float]]:
    """Each row as shares of what was written."""
    return [[count / max(1, sum(row)) for count in row] for row in confusion.counts]


def _percent(share: float, places: int = 2) -> str:
    return f"{100 * share:.{places}f}\u00a0%"  # one word: the sign never stands alone on a line


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _p_value(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}"
