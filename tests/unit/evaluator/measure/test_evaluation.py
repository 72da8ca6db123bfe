"""The whole command against a fake gateway: what it finds, what it catches, what it keeps when things break."""

import dataclasses
import socket

import numpy as np
import pytest

from services.evaluator.__main__ import main
from services.evaluator.corrections import export
from services.evaluator.measure.results import read
from services.runtime.captures import NO_DIGIT
from tests.support.captured import capture
from tests.support.tiny_models import digits


@pytest.fixture
def run(gateway, tiny_models, tiny_dataset, tmp_path, monkeypatch):
    """Call the command with small settings; answers the exit status. Files land in tmp_path/report."""
    monkeypatch.setenv("CLEARDIGITS_EVALUATOR_BATCH", "40")

    def call(*arguments, html=False):
        settings = ["--url", gateway.url, "--models", str(tiny_models), "--dataset", str(tiny_dataset), "--quick"]
        less = ["--noise", "gaussian", "occlusion", "--latency-requests", "30", *([] if html else ["--no-html"])]
        return main([*settings, *less, "--report", str(tmp_path / "report"), *arguments])

    return call


def test_a_good_chain_is_measured_and_found_equal_to_its_models(run, tmp_path, capsys):
    assert run("--require", "clean/never>=0.99", "--require", "gaussian@0.5>=0.2") == 0

    found = read(tmp_path / "report" / "evaluation.json")
    assert found.complete
    assert found.equality.equal
    assert found.equality.images == 3 * 3 * 120
    assert found.cell("none", 0.0, "never").accuracy == 1.0
    assert {each.arm for each in found.cells} == {"never", "always", "auto"}
    assert found.cell("none", 0.0, "auto").denoised == 0.0
    assert found.cell("gaussian", 0.5, "auto").denoised == 1.0
    assert [each.noise for each in found.qualities] == ["gaussian", "occlusion"]
    assert all(case.errors == 0 and case.ms["p50"] > 0 for case in found.latencies)
    out = capsys.readouterr().out
    assert "clean/never>=0.99: met, 1.0000" in out
    assert "| clean | **100.00 %** |" in out


def test_the_same_seed_gives_the_same_counts(run, tmp_path):
    run()
    first = [(cell.name, cell.correct) for cell in read(tmp_path / "report" / "evaluation.json").cells]
    run()

    assert [(cell.name, cell.correct) for cell in read(tmp_path / "report" / "evaluation.json").cells] == first


def test_answers_that_belong_to_other_images_are_an_error(run, gateway, tmp_path, capsys):
    gateway.faults.shifted = 1

    assert run() == 1

    found = read(tmp_path / "report" / "evaluation.json")
    assert not found.equality.equal
    assert found.equality.digits_differ > 0
    assert "DIFFERENT" in capsys.readouterr().out


def test_a_missed_requirement_is_exit_status_1(run, capsys):
    assert run("--require", "gaussian@0.5>=1.0", "--require", "p99_ms<=0.000001") == 1
    assert "p99_ms<=0.000001: MISSED" in capsys.readouterr().out


def test_a_number_that_was_not_measured_meets_no_requirement(run):
    assert run("--require", "stripes@0.5>=0.0") == 1


def test_a_busy_gateway_is_waited_for(run, gateway, tmp_path):
    gateway.faults.busy_first = 3

    assert run() == 0
    assert read(tmp_path / "report" / "evaluation.json").run["retries"] == 3


def test_a_gateway_that_dies_midway_leaves_partial_results(run, gateway, tmp_path, capsys):
    gateway.faults.dead_after = 12  # after the clean cells, in the first noise

    assert run() == 3

    found = read(tmp_path / "report" / "evaluation.json")
    assert not found.complete
    assert [cell.noise for cell in found.cells] == ["none"] * 3
    assert "answered 500" in found.stopped_because
    assert "PARTIAL" in capsys.readouterr().out


def test_no_gateway_says_how_to_start_one(tiny_models, tiny_dataset, tmp_path, capsys):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        status = main(["--url", url, "--dataset", str(tiny_dataset), "--report", str(tmp_path / "r")])

    assert status == 3
    assert "make up" in capsys.readouterr().err


def test_a_gateway_that_is_not_ready_is_not_measured(run, gateway, capsys):
    gateway.faults.not_ready = True

    assert run() == 3
    assert "not ready" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "/nowhere.npz"], "no data at /nowhere.npz"),
        (["--report", "/proc/report"], "cannot write to /proc/report"),
        (["--compare", "/nowhere.json"], "cannot read /nowhere.json"),
        (["--models", "/nowhere"], "no /nowhere/denoiser/1/model.onnx"),
    ],
)
def test_a_wrong_path_is_exit_status_2_with_its_name(run, arguments, message, capsys):
    assert run(*arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("bad", ["gaussian>=0.9", "clean@0.5>=0.9", "gaussian@0.5<=0.9", "gaussian@0.5/maybe>=0.9"])
def test_a_requirement_that_cannot_be_read_is_refused(run, bad, capsys):
    with pytest.raises(SystemExit) as stopped:
        run("--require", bad)

    assert stopped.value.code == 2
    assert bad in capsys.readouterr().err


def test_comparing_with_itself_finds_no_change_and_with_a_worse_run_finds_it(run, gateway, tmp_path, capsys):
    run()
    old = tmp_path / "old"
    (tmp_path / "report").rename(old)

    run("--compare", str(old / "evaluation.json"))
    assert "0 of 9 cells changed by more than luck" in capsys.readouterr().out

    gateway.faults.wrong_digit = True
    run("--compare", str(old / "evaluation.json"))
    assert "none@0/never: -100.00 points (p = 0.0000)" in capsys.readouterr().out


def test_the_report_is_one_file_that_needs_no_network_and_says_what_changed(run, gateway, tmp_path):
    run()
    (tmp_path / "report").rename(tmp_path / "old")
    run("--compare", str(tmp_path / "old" / "evaluation.json"), "--require", "clean>=0.5", html=True)
    page = (tmp_path / "report" / "report.html").read_text().replace(gateway.url, "")

    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page
    assert "<script" not in page
    assert page.count("<svg") == 2 * 6  # each drawn for a desk and for a phone
    assert "What changed" in page
    assert "<code>clean&gt;=0.5</code>" in page
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "evaluation.json", "gallery.json", "outcomes.npz", "report.html", "tables.md",
    }  # fmt: skip


def test_partial_results_are_reported_as_such(run, gateway, tmp_path):
    gateway.faults.dead_after = 12

    run(html=True)

    assert "These results are partial" in (tmp_path / "report" / "report.html").read_text()


def test_corrections_are_scored_as_they_came(gateway, tiny_models, tmp_path):
    """What `make corrections` exports is a data set: its digits count, at no other noise than they were sent with."""
    pixels, labels = digits(40)
    kept = [
        dataclasses.replace(capture("a", place, pixels=picture), label=int(label))
        for place, (picture, label) in enumerate(zip(pixels, labels, strict=True))
    ]
    nothing = dataclasses.replace(capture("b", pixels=np.zeros((28, 28), np.uint8)), label=NO_DIGIT)
    (tmp_path / "corrections.npz").write_bytes(export.npz([*kept, nothing]))
    arguments = ["--url", gateway.url, "--models", str(tiny_models), "--report", str(tmp_path / "report")]

    data = ["--dataset", str(tmp_path / "corrections.npz"), "--latency-requests", "20"]
    assert main([*arguments, *data, "--require", "clean/always>=0.5"]) == 0
    found = read(tmp_path / "report" / "evaluation.json")
    assert found.dataset["name"] == "corrections.npz"
    assert [(cell.noise, cell.total, cell.accuracy) for cell in found.cells] == [("none", 40, 1.0)] * 3
    clean = found.cell("none", 0.0, "always")
    assert 0.5 < clean.estimated <= 1
    assert [error for _, error in clean.error_at_read] == [0.0] * 5  # all are right
    assert clean.read_at_error == [[0.005, 1.0], [0.001, 1.0]]
    assert "Rejecting instead of guessing" in (tmp_path / "report" / "report.html").read_text()
