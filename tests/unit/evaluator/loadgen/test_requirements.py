"""What `--require` of the LoadGen command takes, and what meets it."""

import argparse

import pytest

from services.evaluator.loadgen.__main__ import Run, requirement
from services.evaluator.loadgen.logs import LoadgenVerdict


def run(scenario, *, rate=0.0, valid=True, **figures):
    return Run(scenario, rate, LoadgenVerdict(valid, figures, ()), {}, "logs")


@pytest.mark.parametrize(
    ("text", "runs", "met"),
    [
        ("Server>=200", [run("Server", rate=250)], True),
        ("Server>=200", [run("Server", rate=150)], False),
        ("Server>=200", [run("Server", rate=250, valid=False)], False),
        ("Offline >= 3000", [run("Offline", samples_per_s=3100.0)], True),
        ("SingleStream<=5", [run("SingleStream", p99_ms=5.5)], False),
        ("MultiStream<=5", [run("SingleStream", p99_ms=1.0)], False),
    ],
)
def test_a_bound_is_met_by_a_valid_run_alone(text, runs, met):
    assert requirement(text).met(runs) is met


@pytest.mark.parametrize("text", ["Server<=200", "Server", "p99_ms<=5", "SingleStream>=5"])
def test_other_words_are_refused(text):
    with pytest.raises(argparse.ArgumentTypeError, match="Server>=200"):
        requirement(text)
