"""Numbers in documents are those of docs/results/evaluation.json, and that file is of the models in this repository."""

import pytest

from services.evaluator import markdown, plots
from services.evaluator.reference import sha256
from services.evaluator.results import read

MODELS = markdown.ROOT / "models"


@pytest.fixture(scope="module")
def results():
    return read(markdown.COMMITTED)


@pytest.mark.parametrize("document", markdown.DOCUMENTS, ids=lambda path: str(path.relative_to(markdown.ROOT)))
def test_every_quoted_table_is_the_committed_one(document, results):
    text = document.read_text(encoding="utf-8")

    assert markdown.fill(text, markdown.blocks(results)) == text


def test_the_results_page_quotes_every_table(results):
    page = markdown.DOCUMENTS[1].read_text(encoding="utf-8")

    assert all(f"<!-- evaluation:{name} -->" in page for name in markdown.blocks(results) if name != "accuracy")


def test_the_drawing_is_of_the_committed_numbers(results):
    drawing = (markdown.COMMITTED.parent / "accuracy.svg").read_text(encoding="utf-8")

    assert drawing == plots.standalone(plots.accuracy(results, legend=True))


def test_the_committed_run_is_whole_and_was_right(results):
    assert results.complete
    assert results.equality.equal
    assert [case.errors for case in results.latencies] == [0] * len(results.latencies)
    assert len(results.cells) == 3 * (1 + 8 * 4)


@pytest.mark.parametrize("role", ["denoiser", "classifier"])
def test_the_numbers_belong_to_the_shipped_models(results, role):
    """After new models are shipped: `make evaluate ARGS=--update-readme`."""
    version = results.models[role]

    assert results.run["model_sha256"][role] == sha256(MODELS, role, version)
