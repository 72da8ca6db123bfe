"""Results -> SVG drawings that take their colours from the page they stand in, light or dark.

Each is drawn for a desktop's width or, `narrow`, for a phone's, with letters of the same size.
"""

from __future__ import annotations

import io
import math
import re
import textwrap
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from services.evaluator.client import Denoise
from services.evaluator.measure.results import ARMS, Latency, Quality, Reliability, Results

# Matplotlib wants colours, the page has names for them: every stand-in below becomes var(--name) in the SVG.
_NAMES = "ink muted grid never always auto decode queue denoise classify rest on-stage"
_STAND_INS = {name: f"#0101{number:02x}" for number, name in enumerate(_NAMES.split(), start=1)}
_STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _STAND_INS["grid"],
    "axes.labelcolor": _STAND_INS["muted"],
    "axes.titlecolor": _STAND_INS["ink"],
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _STAND_INS["grid"],
    "grid.linewidth": 0.6,
    "xtick.color": _STAND_INS["muted"],
    "ytick.color": _STAND_INS["muted"],
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "text.color": _STAND_INS["ink"],
    "lines.linewidth": 2,
    "legend.frameon": False,
}
REPORT_COLOURS = Path(__file__).with_name("templates") / "colours.css"
_MARKERS = {"never": "s", "always": "o", "auto": "^"}  # told apart without colour, too
_WIDE_IN, _NARROW_IN = 11.0, 4.6
STAGES = ("decode", "queue", "denoise", "classify")


def accuracy(results: Results, *, legend: bool = False, narrow: bool = False) -> str:
    """One small chart for each noise: accuracy against level, a line for each arm, its 95 % interval as a band."""
    noises = results.noises()
    columns = min(2 if narrow else 4, len(noises))
    panel_in = (2.3, 1.9) if narrow else (2.85, 2.35)
    rows = -(-len(noises) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(panel_in[0] * columns, panel_in[1] * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharey=True, sharex=True, squeeze=False).flat
        for panel, noise in zip(panels, noises, strict=False):
            panel.set_title(words(noise))
            panel.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
            panel.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
            for arm in results.arms():
                _accuracy_line(panel, results, noise, arm)
        for panel in list(panels)[len(noises) :]:
            panel.remove()
        if legend:  # the report has one of its own
            lines, names = figure.axes[0].get_legend_handles_labels()
            figure.legend(lines, names, loc="outside upper left", ncols=len(names))
        figure.supxlabel("noise level", fontsize=10, color=_STAND_INS["muted"])
        return _svg(figure, "accuracy", narrow)


def reliability(found: Sequence[Reliability], *, narrow: bool = False) -> str:
    """Confidence against accuracy; the diagonal is a classifier that may be taken at its word."""
    with matplotlib.rc_context(_STYLE):
        rows, columns = (len(found), 1) if narrow else (1, len(found))
        figure = Figure(figsize=(_NARROW_IN if narrow else 3.6 * columns, 3.2 * rows), layout="constrained")
        panels = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
        for panel, each in zip(panels, found, strict=True):
            panel.set_title(f"{where(each.noise, each.level)}, {ARMS[each.arm]}")
            panel.plot([0, 1], [0, 1], color=_STAND_INS["muted"], linewidth=1, linestyle=(0, (4, 4)))
            confidence, right, counts = zip(*each.bins, strict=True)
            sizes = [14 + 160 * (count / sum(counts)) ** 0.5 for count in counts]
            panel.vlines(confidence, confidence, right, color=_STAND_INS[each.arm], alpha=0.35, linewidth=3)
            panel.scatter(confidence, right, sizes, color=_STAND_INS[each.arm], zorder=3)
            panel.text(0.98, 0.05, f"ECE {each.ece:.3f}", ha="right", transform=panel.transAxes)
            panel.set_xlabel("confidence")
        for panel in panels if narrow else panels[:1]:
            panel.set_ylabel("share read correctly")
        return _svg(figure, "reliability", narrow)


def quality(found: Sequence[Quality], *, narrow: bool = False) -> str:
    """How far the denoiser moves each noise towards the clean image, in PSNR and in SSIM."""
    with matplotlib.rc_context(_STYLE):
        rows, columns = (2, 1) if narrow else (1, 2)
        height_in = rows * (0.36 * len(found) + 0.9)
        figure = Figure(figsize=(_NARROW_IN if narrow else _WIDE_IN, height_in), layout="constrained")
        left, right = figure.subplots(rows, columns, sharey=True).flat
        names = [words(each.noise) for each in found]
        for panel, title, before, after in (
            (left, "PSNR, dB", [q.psnr_noisy for q in found], [q.psnr_denoised for q in found]),
            (right, "SSIM", [q.ssim_noisy for q in found], [q.ssim_denoised for q in found]),
        ):
            panel.set_title(title)
            panel.hlines(names, before, after, color=_STAND_INS["grid"], linewidth=5)
            panel.scatter(before, names, 46, marker="s", color=_STAND_INS["never"], label="noisy", zorder=3)
            panel.scatter(after, names, 52, color=_STAND_INS["always"], label="denoised", zorder=3)
            panel.grid(axis="y", visible=False)
        left.invert_yaxis()
        for panel in (left, right):
            panel.tick_params(axis="y", colors=_STAND_INS["ink"])
        with_room = left if narrow else right
        with_room.legend(loc="lower right", labelcolor=_STAND_INS["ink"], bbox_to_anchor=(1, 1), ncols=2)
        return _svg(figure, "quality", narrow)


def latency_distribution(case: Latency, *, narrow: bool = False) -> str:
    """How many requests took how long, with the percentiles people quote."""
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_NARROW_IN if narrow else _WIDE_IN, 2.9), layout="constrained")
        panel = figure.subplots()
        lows, highs, counts = zip(*case.histogram, strict=True)
        widths = [0.86 * (high - low) for low, high in zip(lows, highs, strict=True)]
        panel.bar(lows, counts, widths, align="edge", color=_STAND_INS["always"], alpha=0.75)
        top = max(counts)
        for name, height in (("p50", 1.24), ("p90", 1.1), ("p99", 1.24)):
            value = case.supported(name)
            if value is not None and value <= highs[-1]:
                panel.vlines(value, 0, height * top, color=_STAND_INS["ink"], linewidth=1)
                # The text stands on the side where there is room: on a phone, lines on its left are near.
                before = value > lows[0] + (0.7 if narrow else 0.5) * (highs[-1] - lows[0])
                panel.annotate(
                    f"{name} {value:.2f} ms",
                    (value, height * top),
                    xytext=(-5 if before else 5, 0),
                    textcoords="offset points",
                    ha="right" if before else "left",
                    va="top",
                    fontsize=9.5,
                )
        panel.set_ylim(0, 1.3 * top)
        panel.set_xlabel(_folded("milliseconds at the client (the slowest 1 % stand in the last bar)", narrow, 40))
        panel.set_ylabel("requests")
        panel.grid(axis="x", visible=False)
        return _svg(figure, "distribution", narrow)


def percentiles(cases: Sequence[Latency], *, narrow: bool = False) -> str:
    """From p50 to p99.9 for every kind of request, on one logarithmic scale: those the sample supports."""
    points = (("p50", 70, 1), ("p90", 42, 0.8), ("p99", 30, 0.6), ("p99.9", 18, 0.45))
    with matplotlib.rc_context(_STYLE):
        figure = _figure_of_rows(cases, narrow)
        panel = figure.subplots()
        panel.set_xscale("log")
        rows = [_folded(case.case, narrow) for case in cases]
        panel.set_yticks(range(len(rows)), rows)
        found = {name: [case.supported(name) or float("nan") for case in cases] for name, _, _ in points}
        spans = [[value for value in values if not math.isnan(value)] for values in zip(*found.values(), strict=True)]
        panel.hlines(
            range(len(rows)),
            [min(span, default=float("nan")) for span in spans],
            [max(span, default=float("nan")) for span in spans],
            color=_STAND_INS["grid"],
            linewidth=5,
        )
        for name, size, opacity in points:
            panel.scatter(
                found[name], range(len(rows)), size, color=_STAND_INS["always"], alpha=opacity, zorder=3, label=name
            )
        panel.invert_yaxis()
        panel.margins(y=0.12)
        panel.tick_params(axis="y", colors=_STAND_INS["ink"])
        panel.xaxis.set_major_locator(LogLocator(subs=(1,) if narrow else (1, 2, 5)))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        panel.grid(axis="y", visible=False)
        panel.set_xlabel("milliseconds")
        columns = len(points) // 2 if narrow else len(points)
        panel.legend(loc="lower left", ncols=columns, bbox_to_anchor=(0, 1), labelcolor=_STAND_INS["ink"])
        return _svg(figure, "percentiles", narrow)


def stages(cases: Sequence[Latency], *, narrow: bool = False) -> str:
    """Where a request's median time goes; `rest` is network, HTTP and the client itself."""
    with matplotlib.rc_context(_STYLE):
        figure = _figure_of_rows(cases, narrow)
        panel = figure.subplots()
        names = [_folded(case.case, narrow) for case in cases]
        start = [0.0] * len(cases)
        for stage in (*STAGES, "rest"):
            widths = [_share(case, stage) for case in cases]
            panel.barh(names, widths, 0.62, left=start, color=_STAND_INS[stage], label=stage)
            for row, (left, width, case) in enumerate(zip(start, widths, cases, strict=True)):
                if width > (0.16 if narrow else 0.06):
                    text = f"{_stage_ms(case, stage):.2f}"
                    panel.text(
                        left + width / 2, row, text, ha="center", va="center", fontsize=9, color=_STAND_INS["on-stage"]
                    )
            start = [left + width for left, width in zip(start, widths, strict=True)]
        panel.invert_yaxis()
        panel.tick_params(axis="y", colors=_STAND_INS["ink"])
        panel.set_xlim(0, 1)
        panel.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
        panel.grid(visible=False)
        panel.set_xlabel(_folded("share of the median request, with its milliseconds", narrow, 30))
        panel.legend(loc="lower left", ncols=3 if narrow else 5, bbox_to_anchor=(0, 1), labelcolor=_STAND_INS["ink"])
        return _svg(figure, "stages", narrow)


def standalone(drawing: str) -> str:
    """A drawing as a file of its own: it brings the page's colours along, for light and for dark."""
    colours = REPORT_COLOURS.read_text(encoding="utf-8")
    rules = "svg { background: var(--surface); } text { font-family: var(--font) !important; }"
    head, rest = drawing.split(">", 1)
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"{head} {namespaces}><style>{colours}{rules}</style>{rest}"


def words(noise: str) -> str:
    """`salt_and_pepper` for people."""
    return noise.replace("_", " ")


def where(noise: str, level: float) -> str:
    """A cell of the grid, for people."""
    return f"{words(noise)} {level:g}" if level else "clean"


def _accuracy_line(panel: Axes, results: Results, noise: str, arm: Denoise) -> None:
    cells = [cell for level in results.levels() if (cell := results.cell(noise, level, arm))]
    levels = [cell.level for cell in cells]
    panel.fill_between(levels, _percent(c.low for c in cells), _percent(c.high for c in cells),
                       color=_STAND_INS[arm], alpha=0.18, linewidth=0)  # fmt: skip
    dashes = (0, (3, 2)) if arm == "auto" else "solid"  # auto often lies on top of another arm
    panel.plot(levels, _percent(c.accuracy for c in cells), color=_STAND_INS[arm], marker=_MARKERS[arm],
               markersize=5, linestyle=dashes, label=ARMS[arm])  # fmt: skip


def _stage_ms(case: Latency, stage: str) -> float:
    """A stage's milliseconds; medians need not add up, so the rest is never below nothing."""
    if stage == "rest":
        return max(0.0, case.ms["p50"] - sum(case.stages_ms[each] for each in STAGES))
    return case.stages_ms[stage]


def _share(case: Latency, stage: str) -> float:
    """Of the median request, or of the sum of stages where slices of a large request pass through them side by side."""
    return _stage_ms(case, stage) / max(case.ms["p50"], sum(case.stages_ms[each] for each in STAGES))


def _figure_of_rows(cases: Sequence[Latency], narrow: bool) -> Figure:
    size = (_NARROW_IN, 0.62 * len(cases) + 1.3) if narrow else (_WIDE_IN, 0.42 * len(cases) + 1.1)
    return Figure(figsize=size, layout="constrained")


def _folded(text: str, narrow: bool, letters: int = 17) -> str:
    return textwrap.fill(text, letters) if narrow else text


def _percent(values: Iterable[float]) -> list[float]:
    return [100 * value for value in values]


def _svg(figure: Figure, name: str, narrow: bool) -> str:
    """The figure as an inline element: colours by name, ids that do not meet those of other figures."""
    salt = f"{name}-narrow" if narrow else name
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{salt}-", text)
    text = re.sub(r"font: ([\d.]+px|[\w ]+ [\d.]+px) [^;\"]*", r"font: \1 var(--font)", text)
    for colour, stand_in in _STAND_INS.items():
        text = text.replace(stand_in, f"var(--{colour})")
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{name}">', text, count=1
    )
