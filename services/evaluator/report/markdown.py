"""Results -> Markdown tables, and the places in documents that quote them."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from services.evaluator.errors import ReportError
from services.evaluator.measure.results import ARMS, CLEAN, HEADLINE_LEVEL, Results
from services.evaluator.report import plots
from services.evaluator.report.plots import where, words

ROOT = Path(__file__).parents[3]
COMMITTED = ROOT / "docs" / "results" / "evaluation.json"
ESTIMATE_TARGET, ESTIMATE_TARGET_ABOVE = 0.5, 1.5  # points; above the headline level confidence is worth less
DOCUMENTS = (ROOT / "README.md", ROOT / "docs" / "results" / "README.md")


def blocks(results: Results) -> dict[str, str]:
    """Every table a document may quote, by the name in its marker."""
    return {
        "accuracy": accuracy_table(results, full=False),
        "accuracy-full": accuracy_table(results, full=True),
        "estimate": estimate_table(results),
        "rejects": rejects_table(results),
        "quality": quality_table(results),
        "latency": latency_table(results),
        "conditions": conditions(results),
    }


def accuracy_table(results: Results, *, full: bool) -> str:
    """Accuracy of every arm, clean and at the headline level; `full`: at every level, with its interval."""
    arms = results.arms()
    headline = results.headline()
    levels = results.levels() if full else [0.0, headline[1]] if headline else [0.0]
    rows = [("clean", CLEAN, 0.0)] if 0.0 in levels else []
    rows += [(f"{words(noise)} {level:g}", noise, level) for noise in results.noises() for level in levels if level > 0]
    lines = [_row(["noise", *(ARMS[arm] for arm in arms)]), _row(["---", *("---:" for _ in arms)])]
    for title, noise, level in rows:
        cells = [results.cell(noise, level, arm) for arm in arms]
        best = max((cell.correct for cell in cells if cell), default=0)
        texts = []
        for cell in cells:
            text = f"{100 * cell.accuracy:.2f} %" if cell else ""
            text = f"**{text}**" if cell and cell.correct == best else text
            interval = f" ({100 * cell.low:.2f}–{100 * cell.high:.2f})" if cell and full else ""
            texts.append(text + interval)
        lines.append(_row([title, *texts]))
    return "\n".join(lines)


def estimate_table(results: Results) -> str:
    """Accuracy of the whole chain as its confidence has it, without labels, beside the true one."""
    titles = ["noise", "estimated", "true", "off by, points", "target", ""]
    lines = [_row(titles), _row(["---", *["---:"] * 4, "---"])]
    for cell in results.cells:
        if cell.arm != "always" or cell.estimated is None:
            continue
        target = target_of(cell.level)
        off = 100 * (cell.estimated - cell.accuracy)
        title = where(cell.noise, cell.level)
        shares = [f"{100 * share:.2f} %" for share in (cell.estimated, cell.accuracy)]
        met = "met" if abs(off) <= target else "missed"
        lines.append(_row([title, *shares, f"{off:+.2f}", f"{target:g}", met]))
    return "\n".join(lines)


def target_of(level: float) -> float:
    """How many points an estimate of accuracy may be off."""
    return ESTIMATE_TARGET if level <= HEADLINE_LEVEL else ESTIMATE_TARGET_ABOVE


def rejects_table(results: Results) -> str:
    """The error-reject curve of the whole chain under every noise: what is wrong of the surest, what is read within."""
    cells = [cell for cell in results.cells if cell.arm == "always" and cell.error_at_read]
    if not cells:
        return "Not measured in this run."
    titles = ["noise", *(f"wrong of the surest {100 * share:g} %" for share, _ in cells[0].error_at_read)]
    titles += [f"read at {100 * allowed:g} % wrong" for allowed, _ in cells[0].read_at_error]
    lines = [_row(titles), _row(["---", *("---:" for _ in titles[1:])])]
    for cell in cells:
        title = where(cell.noise, cell.level)
        errors = [f"{100 * error:.2f} %" for _, error in cell.error_at_read]
        lines.append(_row([title, *errors, *(f"{100 * share:.1f} %" for _, share in cell.read_at_error)]))
    return "\n".join(lines)


def quality_table(results: Results) -> str:
    """PSNR and SSIM of noisy and denoised images."""
    titles = ["noise", "PSNR noisy, dB", "PSNR denoised, dB", "SSIM noisy", "SSIM denoised"]
    lines = [_row(titles), _row(["---", *("---:" for _ in titles[1:])])]
    for each in results.qualities:
        psnr = (f"{value:.2f}" for value in (each.psnr_noisy, each.psnr_denoised))
        ssim = (f"{value:.3f}" for value in (each.ssim_noisy, each.ssim_denoised))
        lines.append(_row([f"{words(each.noise)} {each.level:g}", *psnr, *ssim]))
    return "\n".join(lines)


def latency_table(results: Results) -> str:
    """Milliseconds at the client, and how much came through."""
    names = ("p50", "p95", "p99", "p99.9")
    floor = ["client alone, p50"] if any(case.floor_ms for case in results.latencies) else []
    lines = [_row(["request", *(f"{name}, ms" for name in names), *floor, "requests/s", "images/s", "errors"])]
    lines.append(_row(["---", *("---:" for _ in range(len(names) + len(floor) + 3))]))
    for case in results.latencies:
        found = [case.supported(name) for name in names]
        figures = ["–" if value is None else f"{value:.2f}" for value in found]
        rates = [f"{case.requests_per_s:,.0f}", f"{case.requests_per_s * case.images:,.0f}"]
        alone = [f"{case.floor_ms['p50']:.2f}" if case.floor_ms else ""] if floor else []
        lines.append(_row([case.case, *figures, *alone, *rates, str(case.errors)]))
    return "\n".join(lines)


def conditions(results: Results) -> str:
    """Under what conditions the numbers hold, in one sentence or two."""
    run, dataset = results.run, results.dataset
    text = (
        f"{dataset['images']:,} images of {dataset['name']}, seed {run['seed']}, {run['pair']}; "
        f"{run['cpu']}, {run['cores']} cores, client on the same machine; `{run['command']}`, {run['date']}."
    )
    if results.equality:
        text += (
            f" All {results.equality.images:,} answers over HTTP were compared with the same models called in-process: "
            f"{results.equality}."
        )
    return text if results.complete else f"Partial: {results.stopped_because}. {text}"


def fill(text: str, tables: dict[str, str]) -> str:
    """Put each table between its markers, `<!-- evaluation:NAME -->` and `<!-- /evaluation:NAME -->`."""
    for name in set(re.findall(r"<!-- evaluation:([\w-]+) -->", text)):
        if name not in tables:
            raise ReportError(f"there is no table called {name}; there are {', '.join(tables)}")
        pattern = rf"(<!-- evaluation:{name} -->\n).*?(<!-- /evaluation:{name} -->)"
        table = tables[name]
        text, found = re.subn(pattern, partial(_filled, table), text, flags=re.DOTALL)
        if not found:
            raise ReportError(f"the marker evaluation:{name} is opened but not closed")
    return text


def update_documents(results: Results) -> list[Path]:
    """Commit-ready: save the results under docs/results and refresh every document that quotes them."""
    if not results.complete:
        raise ReportError(f"a partial run is not for the README: {results.stopped_because}")
    COMMITTED.parent.mkdir(parents=True, exist_ok=True)
    text = results.to_json()
    COMMITTED.write_text(text, encoding="utf-8")
    results = Results.from_json(text)  # rounded as in the file, so that documents and file cannot differ
    drawing = COMMITTED.with_name("accuracy.svg")
    drawing.write_text(plots.standalone(plots.accuracy(results, legend=True)), encoding="utf-8")
    tables = blocks(results)
    for document in DOCUMENTS:
        document.write_text(fill(document.read_text(encoding="utf-8"), tables), encoding="utf-8")
    return [COMMITTED, drawing, *DOCUMENTS]


def _row(texts: list[str]) -> str:
    return "| " + " | ".join(texts) + " |"


def _filled(table: str, markers: re.Match[str]) -> str:
    return f"{markers[1]}{table}\n{markers[2]}"
