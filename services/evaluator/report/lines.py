"""Lines of digits in tables, and a picture of the surest mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from services.evaluator.measure.lines import LineCell, LineFindings, Speed

PAGE = Path("docs/results/lines.md")
_ARMS = {"never": "as it is", "always": "cleaned first"}
_CELL_WIDTH, _CELL_HEIGHT = 420, 90


def page(findings: LineFindings, *, models: str = "") -> str:
    """docs/results/lines.md; `models` says which pair was measured."""
    count = max((cell.lines for cell in findings.cells), default=0)
    command = f'make evaluate ARGS="--lines {count} --update-readme"'
    parts = [
        "# Numbers read whole",
        f"{count:,} lines of each kind, made from MNIST's test digits, through `POST /v1/read`, by `{command}`. "
        "Noise is on the whole picture.",
        *([f"Models: {models}."] if models else []),
        table(findings.cells),
        "## Rejecting instead of guessing",
        "Of the surest part of the lines (cleaned first), how many are read wrongly; and the part that can be read "
        "with at most so many errors.",
        rejects(findings.cells),
    ]
    if findings.speed is not None:
        parts += ["## Speed", speed(findings.speed)]
    return "\n\n".join(parts) + "\n"


def table(cells: Sequence[LineCell]) -> str:
    """Whole numbers, digit errors, count errors and what is accepted wrongly, a row for each kind and noise."""
    rows = [
        "| lines | noise | "
        + " | ".join(f"whole, {name}" for name in _ARMS.values())
        + " | digit errors | wrong count | accepted | wrong of all accepted |",
        "| --- | --- | " + " | ".join("---:" for _ in range(len(_ARMS) + 4)) + " |",
    ]
    for cell in (each for each in cells if each.arm == "always"):
        wholes = [
            f"{100 * each.accuracy:.1f} %"
            for arm in _ARMS
            for each in cells
            if _place(each) == _place(cell) and each.arm == arm
        ]
        rows.append(
            f"| {cell.form} | {_noise(cell)} | {' | '.join(wholes)} | {cell.digit_errors / cell.digits:.2%} "
            f"| {cell.count_errors / cell.lines:.1%} | {cell.accepted / cell.lines:.1%} "
            f"| {cell.accepted_wrong / cell.accepted if cell.accepted else 0:.2%} |"
        )
    return "\n".join(rows)


def rejects(cells: Sequence[LineCell]) -> str:
    """The error-reject curve of each kind."""
    cleaned = [cell for cell in cells if cell.arm == "always"]
    if not cleaned:
        return ""
    shares, allowed = cleaned[0].error_at_read, cleaned[0].read_at_error
    heads = [f"wrong of the surest {share:.0%}" for share, _ in shares] + [
        f"read at {error:.1%}" for error, _ in allowed
    ]
    rows = [f"| lines | noise | {' | '.join(heads)} |", f"| --- | --- | {' | '.join('---:' for _ in heads)} |"]
    for cell in cleaned:
        values = [f"{error:.2%}" for _, error in cell.error_at_read] + [
            f"{share:.1%}" for _, share in cell.read_at_error
        ]
        rows.append(f"| {cell.form} | {_noise(cell)} | {' | '.join(values)} |")
    return "\n".join(rows)


def speed(found: Speed) -> str:
    """A line beside a digit, in the same run."""
    return (
        "| | one digit | one line of five | ratio |\n| --- | ---: | ---: | ---: |\n"
        f"| p50, one client | {found.digit_ms:.2f} ms | {found.line_ms:.2f} ms "
        f"| {found.line_ms / found.digit_ms:.1f} |\n"
        f"| a second, {found.clients} clients | {found.digits_per_s:.0f} | {found.lines_per_s:.0f} "
        f"| {5 * found.lines_per_s / found.digits_per_s:.2f} (digits in lines to digits) |"
    )


def mistakes(findings: LineFindings) -> bytes:
    """A PNG of the lines that were read wrongly with the most certainty; nothing where there are none."""
    cells = []
    for mistake in findings.mistakes:
        picture = cv2.imdecode(np.frombuffer(mistake.png, np.uint8), cv2.IMREAD_COLOR)
        if picture is None:  # a kind of file that the gateway reads and OpenCV's defaults do not
            continue
        scale = min((_CELL_WIDTH - 10) / picture.shape[1], 60 / picture.shape[0])
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        cell = np.full((_CELL_HEIGHT, _CELL_WIDTH, 3), 32, np.uint8)
        cell[2 : 2 + small.shape[0], 4 : 4 + small.shape[1]] = small
        said = f"{mistake.number} read as {mistake.read or 'nothing'}, {mistake.confidence:.3f}"
        cv2.putText(cell, said, (4, 82), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        cells.append(cell)
    if not cells:
        return b""
    if len(cells) % 2:
        cells.append(np.zeros_like(cells[0]))
    rows = [np.hstack(cells[at : at + 2]) for at in range(0, len(cells), 2)]
    png: bytes = cv2.imencode(".png", np.vstack(rows))[1].tobytes()
    return png


def _place(cell: LineCell) -> tuple[str, str, float]:
    return cell.form, cell.noise, cell.level


def _noise(cell: LineCell) -> str:
    return f"{cell.noise} {cell.level:g}" if cell.level else "clean"
