"""Results as data: JSON there and back, Markdown, the places that quote it, comparisons, requirements."""

import argparse
import dataclasses

import pytest

from services.evaluator.errors import ReportError
from services.evaluator.measure.compare import compare
from services.evaluator.measure.requirements import requirement
from services.evaluator.measure.results import Cell, Equality, Latency, PairedTest, Quality, Results
from services.evaluator.report import markdown


def cell(noise, level, arm, correct, total=1000):
    share = correct / total
    return Cell(
        noise, level, arm, correct, total, share - 0.01, share + 0.01, [share] * 10, 0.02, float(arm == "always")
    )


PAIR = "denoiser 1, classifier 1 (files sha256:0123456789abcdef)"


@pytest.fixture
def results():
    ms = {"mean": 2.0, "p50": 1.5, "p90": 2.0, "p95": 2.5, "p99": 4.0, "p99.9": 9.0, "max": 12.0}
    return Results(
        run={"seed": 1, "cpu": "CPU", "cores": 2, "command": "make evaluate", "date": "2026-01-01", "pair": PAIR},
        dataset={"name": "MNIST test", "images": 1000, "sha256": "00"},
        models={"denoiser": 1, "classifier": 1},
        cells=[
            cell("none", 0.0, "never", 990),
            cell("none", 0.0, "always", 985),
            cell("gaussian", 0.5, "never", 600),
            cell("gaussian", 0.5, "always", 970),
        ],
        pairs=[PairedTest("gaussian", 0.5, "never", "always", 5, 375, 0.0)],
        qualities=[Quality("gaussian", 0.5, 100, 9.5, 18.25, 0.3, 0.8125)],
        latencies=[Latency("one PNG, one client", 1, 1, 1000, 2, 2.0, ms, {}, 300.0, 200.0, [(1.0, 2.0, 998)])],
        equality=Equality(4000, 0, 1e-7, 1e-5, True),
        complete=True,
    )


def test_json_there_and_back(results):
    text = results.to_json()

    assert Results.from_json(text).to_json() == text
    assert Results.from_json(text).cell("gaussian", 0.5, "always").accuracy == 0.97


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 99}'])
def test_anything_else_is_refused(text):
    with pytest.raises(ReportError):
        Results.from_json(text)


@pytest.mark.parametrize(
    ("differ", "largest", "said"),
    [
        (0, 0.0, "no digit differs; probabilities are identical"),
        (0, 1e-7, "no digit differs; probabilities differ by at most 1e-07"),
        (1, 1e-3, "1 digit differs; probabilities differ by at most 1e-03"),
        (2, 1e-3, "2 digits differ; probabilities differ by at most 1e-03"),
    ],
)
def test_what_was_compared_is_said_in_words(differ, largest, said):
    assert str(Equality(4000, differ, largest, 1e-5, True)) == said


@pytest.mark.parametrize(
    ("requests", "told"),
    [
        (58, ["p50", "p90"]),
        (59, ["p50", "p90", "p95"]),
        (299, ["p50", "p90", "p95", "p99"]),
        (2994, ["p50", "p90", "p95", "p99"]),
        (2995, ["p50", "p90", "p95", "p99", "p99.9"]),
    ],
)
def test_a_percentile_is_told_only_where_enough_requests_support_it(results, requests, told):
    case = dataclasses.replace(results.latencies[0], requests=requests, errors=0)

    assert [name for name in ("p50", "p90", "p95", "p99", "p99.9") if case.supported(name) is not None] == told
    row = markdown.latency_table(dataclasses.replace(results, latencies=[case])).splitlines()[-1]
    assert ("9.00" in row) == ("p99.9" in told)


def test_level_0_of_every_noise_is_the_clean_cell(results):
    assert results.cell("gaussian", 0.0, "never") is results.cells[0]


def test_the_accuracy_table_marks_the_best_arm(results):
    assert markdown.accuracy_table(results, full=False).splitlines() == [
        "| noise | classify only | denoise, then classify |",
        "| --- | ---: | ---: |",
        "| clean | **99.00 %** | 98.50 % |",
        "| gaussian 0.5 | 60.00 % | **97.00 %** |",
    ]


def test_the_full_table_has_intervals(results):
    assert "| **97.00 %** (96.00–98.00) |" in markdown.accuracy_table(results, full=True)


def test_the_table_of_estimates_says_where_confidence_misleads(results):
    estimates = (None, 0.9805, None, 0.985)
    results.cells = [
        dataclasses.replace(cell, estimated=estimate) for cell, estimate in zip(results.cells, estimates, strict=True)
    ]

    assert markdown.estimate_table(results).splitlines()[2:] == [
        "| clean | 98.05 % | 98.50 % | -0.45 | 0.5 | met |",
        "| gaussian 0.5 | 98.50 % | 97.00 % | +1.50 | 0.5 | missed |",
    ]


def test_the_table_of_rejects_shows_the_whole_chain(results):
    curve = {"error_at_read": [(1.0, 0.03), (0.96, 0.0049)], "read_at_error": [(0.005, 0.962), (0.001, 0.5)]}
    assert markdown.rejects_table(results) == "Not measured in this run."  # results of before have no curve

    results.cells = [dataclasses.replace(cell, **curve) for cell in results.cells]
    assert markdown.rejects_table(Results.from_json(results.to_json())).splitlines() == [
        "| noise | wrong of the surest 100 % | wrong of the surest 96 % | read at 0.5 % wrong | read at 0.1 % wrong |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| clean | 3.00 % | 0.49 % | 96.2 % | 50.0 % |",
        "| gaussian 0.5 | 3.00 % | 0.49 % | 96.2 % | 50.0 % |",
    ]


def test_latency_and_quality_tables(results):
    assert markdown.latency_table(results).splitlines()[2] == (
        "| one PNG, one client | 1.50 | 2.50 | 4.00 | – | 499 | 499 | 2 |"
    )
    assert markdown.quality_table(results).splitlines()[2] == "| gaussian 0.5 | 9.50 | 18.25 | 0.300 | 0.812 |"


def test_a_document_gets_its_tables_between_its_markers():
    text = "a\n<!-- evaluation:latency -->\nold\n<!-- /evaluation:latency -->\nb\n"

    filled = markdown.fill(text, {"latency": "new \\1 table"})

    assert filled == "a\n<!-- evaluation:latency -->\nnew \\1 table\n<!-- /evaluation:latency -->\nb\n"
    assert markdown.fill(filled, {"latency": "new \\1 table"}) == filled


@pytest.mark.parametrize(
    "text", ["<!-- evaluation:nothing -->\n<!-- /evaluation:nothing -->", "<!-- evaluation:latency -->"]
)
def test_a_marker_of_no_table_or_without_end_is_an_error(text):
    with pytest.raises(ReportError):
        markdown.fill(text, {"latency": "table"})


def test_partial_results_are_not_for_documents(results):
    results.complete = False

    with pytest.raises(ReportError, match="partial"):
        markdown.update_documents(results)


def test_a_large_change_is_significant_and_a_small_one_is_not(results):
    new = Results.from_json(results.to_json())
    new.cells[2] = cell("gaussian", 0.5, "never", 700)
    new.cells[3] = cell("gaussian", 0.5, "always", 971)

    changes = {change.new.name: change for change in compare(results, new)}

    assert changes["gaussian@0.5/never"].significant
    assert changes["gaussian@0.5/never"].points == pytest.approx(10)
    assert not changes["gaussian@0.5/always"].significant
    assert not changes["none@0/never"].significant


def test_a_cell_that_only_one_run_has_is_no_change(results):
    new = Results.from_json(results.to_json())
    new.cells.append(cell("stripes", 0.5, "always", 900))

    assert len(compare(results, new)) == 4


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("gaussian@0.5>=0.97", True),
        ("gaussian@0.5>=0.971", False),
        ("gaussian@0.5/never >= 0.6", True),
        ("clean/never>=0.99", True),
        ("clean>=0.99", False),
        ("p99_ms<=4", True),
        ("p99.9_ms<=8.9", False),
        ("speckle@0.5>=0", False),
    ],
)
def test_requirements(results, text, met):
    assert requirement(text).met(results) is met


@pytest.mark.parametrize(
    "text", ["gausian@0.5>=0.98", "", "gaussian", "gaussian@0.5", "gaussian@>=1", "p98_ms<=1", "clean@0.5>=0.9"]
)
def test_what_is_no_requirement(text):
    with pytest.raises(argparse.ArgumentTypeError):
        requirement(text)
