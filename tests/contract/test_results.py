"""Numbers in documents are those of docs/results/evaluation.json, and every page is of the shipped models."""

import json

import onnxruntime
import pytest

from services.core.model_digest import CARD, file_digests, newest, pair, stamps
from services.core.noise import NOISES
from services.evaluator.measure.results import read
from services.evaluator.report import markdown, plots

DOCS = markdown.ROOT / "docs"
PAGES = sorted(
    path
    for pattern in (
        "benchmarks/*.md",
        "benchmarks/*.json",
        "results/*.md",
        "results/*.json",
        "reproduction.md",
        "OPERATIONS.md",
    )
    for path in DOCS.glob(pattern)
)
# Measured before the shipped pair was made: the pair that lay in the repository then. Measuring again takes them out.
OF_AN_EARLIER_PAIR = {
    "results/sizes.md": "denoiser 4, classifier 4 (files sha256:fb0f6f8c9709f47a)",
}


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
    assert len(results.cells) == 3 * (1 + len(NOISES) * 4)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(DOCS).as_posix())
def test_every_page_of_figures_is_of_the_shipped_models(page):
    """After new models are shipped, measure again: the command stands on the page."""
    name = page.relative_to(DOCS).as_posix()
    shipped = str(pair(markdown.ROOT / "models"))

    assert stamps(page.read_text(encoding="utf-8")) == {OF_AN_EARLIER_PAIR.get(name, shipped)}
    assert OF_AN_EARLIER_PAIR.get(name) != shipped, "it is of the shipped pair now"


def test_pages_listed_as_of_an_earlier_pair_exist():
    assert OF_AN_EARLIER_PAIR.keys() <= {path.relative_to(DOCS).as_posix() for path in PAGES}


@pytest.mark.parametrize("model", ["denoiser", "classifier"])
def test_the_card_of_a_shipped_version_tells_of_the_files_beside_it(model):
    """The card is no part of the digest: it is held to the files here."""
    folder = markdown.ROOT / "models" / model
    version = folder / str(newest(folder))
    card = json.loads((version / CARD).read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(version / "model.onnx", providers=["CPUExecutionProvider"])

    def shapes(tensors):
        return {each.name: [size if isinstance(size, int) else -1 for size in each.shape] for each in tensors}

    assert card["files_sha256"] == file_digests(version)
    assert {name: shape for name, (_, shape) in card["signature"]["inputs"].items()} == shapes(session.get_inputs())
    assert {name: shape for name, (_, shape) in card["signature"]["outputs"].items()} == shapes(session.get_outputs())
