"""The page of reproduced results says what the runs found."""

import json

import pytest

from services.core.model_digest import pair, stamps
from training.measure.measurements import LEVELS
from training.studies import reproduce
from training.studies.reproduce import RECIPES


def measured(accuracy):
    levels = {str(level): accuracy for level in LEVELS}
    kinds = {"gaussian": levels, "stripes": levels}
    return {"clean": 0.99, "clean_alone": 0.98, "chain": kinds, "alone": dict.fromkeys(kinds, levels)}


@pytest.fixture
def runs(tmp_path):
    """Run folders as the job leaves them, with made-up figures."""
    for name in RECIPES:
        run = tmp_path / "runs" / "reproduce" / name
        run.mkdir(parents=True)
        result = {
            "command": f"python -m training --recipe {name}",
            "seed": 1,
            "epochs": 2,
            "minutes": 0.25,
            "parameters": {"classifier": 1234},
            "figures": {"test accuracy": 0.9765} if name != "default" else {},
            "measured": None if name == "dense-autoencoder" else measured(0.5 if name == "mlp" else 0.9),
        }
        (run / "results.json").write_text(json.dumps(result))
        for plot in reproduce.CAPTIONS:
            (run / f"{plot}.webp").write_bytes(b"a picture")
    costs = {name: {"single_us": 10.0 * (1 + index), "batch_us": 5.0} for index, name in enumerate(RECIPES)}
    costs["default, classifier alone"] = {"single_us": 1.0, "batch_us": 0.5}
    (tmp_path / "runs" / "reproduce" / "cost.json").write_text(json.dumps(costs))
    return tmp_path / "runs" / "reproduce"


@pytest.fixture
def models(tmp_path):
    """A pair as it is shipped, whose card says what the default recipe's run found."""
    for name in ("denoiser", "classifier"):
        version = tmp_path / "models" / name / "3"
        version.mkdir(parents=True)
        (version / "model.onnx").write_text(name)
        (version / "model_card.json").write_text(json.dumps({"results": measured(0.9)}))
    return tmp_path / "models"


def test_the_page_names_the_files_of_the_pair_when_the_run_is_the_shipped_one(runs, models, tmp_path):
    page = reproduce.write_document(runs, tmp_path / "docs", models).read_text()

    assert stamps(page) == {str(pair(models))}


def test_the_page_names_no_pair_when_another_one_is_shipped(runs, models, tmp_path):
    (models / "denoiser/3/model_card.json").write_text(json.dumps({"results": measured(0.91)}))

    assert stamps(reproduce.write_document(runs, tmp_path / "docs", models).read_text()) == set()


def test_published_and_ours_stand_side_by_side(runs, models, tmp_path):
    page = reproduce.write_document(runs, tmp_path / "docs", models).read_text()

    assert (
        "| fully-connected | 97.6 % on the clean test set | test accuracy 97.65% | 1 | 2 | 0.2 "
        "| `python -m training --recipe fully-connected` |" in page
    )
    assert "| default | none; the targets are in training/README.md | clean 99.00%, Gaussian 0.5 90.00% |" in page


def test_cost_is_ranked_and_the_front_marked(runs, models, tmp_path):
    page = reproduce.write_document(runs, tmp_path / "docs", models).read_text()

    assert "| default, classifier alone | 98.00% | 90.00% | 90.00% | 1 | 2,000,000 | yes |" in page
    assert "| dense-autoencoder | – | – | – | 10 | 200,000 |  |" in page
    assert "| mlp | 99.00% | 50.00% | 50.00% | 20 | 200,000 |  |" in page


def test_every_picture_on_the_page_lies_beside_it(runs, models, tmp_path):
    path = reproduce.write_document(runs, tmp_path / "docs", models)
    links = [part.split(")")[0] for part in path.read_text().split("](")[1:]]

    assert links
    assert all((path.parent / link).is_file() for link in links)


def test_what_was_held_out_is_shown_once_it_was_run(runs, models, tmp_path):
    assert "never seen" not in reproduce.write_document(runs, tmp_path / "docs", models).read_text()

    (runs.parent / "held-out").mkdir()
    (runs.parent / "held-out" / "table.md").write_text("| noise kind |")
    assert (
        "## Noise never seen in training\n\n| noise kind |"
        in reproduce.write_document(runs, tmp_path / "docs", models).read_text()
    )


def test_a_finished_recipe_is_not_run_again(runs):
    assert reproduce.main(["--runs", str(runs), "--recipe", "cnn"]) == 0
