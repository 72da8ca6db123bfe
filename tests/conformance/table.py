"""The part of services/model_server/README.md that the conformance kit's table writes."""

from pathlib import Path

from tests.conformance.cases import BEHAVIOURS, GRPC, REST, Case, Known, Outcome

README = Path(__file__).parents[2] / "services/model_server/README.md"
BEGIN, END = "<!-- conformance: written by python -m tests.conformance -->", "<!-- /conformance -->"


def render() -> str:
    """Counts, differences and behaviours as Markdown."""
    cases = [*GRPC, *REST]
    seen = sum(case.known is Known.SEEN for case in cases)
    same = sum(case.ours is None for case in cases)
    lines = [
        BEGIN,
        f"The table holds {len(GRPC)} gRPC and {len(REST)} REST requests; the outcome of {seen} was seen on TensorFlow "
        f"Serving 2.20.0, {len(cases) - seen} is from its source.",
        f"{same} are answered as there: the same code and, where they are not the engine's own, the same words. "
        f"{len(cases) - same} are answered otherwise on purpose:",
        "",
        "| asked | TensorFlow Serving | here, and why |",
        "| --- | --- | --- |",
        *(_row(case) for case in cases if case.ours is not None),
        "",
        "What no single request shows:",
        "",
        "| | TensorFlow Serving | here | known |",
        "| --- | --- | --- | --- |",
        *(f"| {b.name} | {b.theirs} | {b.ours} | {b.known.value} |" for b in BEHAVIOURS),
        END,
    ]
    return "\n".join(lines)


def write() -> None:
    """Replace the part between the marks."""
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    README.write_text(before + render() + rest.split(END, 1)[1], encoding="utf-8")


def _row(case: Case) -> str:
    ours = case.ours or case.theirs
    return f"| {case.name} | {_shown(case.theirs)} | {_shown(ours)}: {case.why} |"


def _shown(outcome: Outcome) -> str:
    words = f" `{outcome.words}`" if outcome.words else ""
    return f"{outcome.code}{words}"
