"""The page of sizes and controls says what the runs found."""

import json

import pytest

from services.core.model_digest import pair, stamps
from tests.support.digits import synthetic_mnist
from tests.support.stack import MODELS
from training import runs
from training.config import TrainingConfig
from training.data.dataset import split
from training.measure.measurements import LEVELS
from training.studies import sizes


@pytest.fixture
def results():
    """As they are kept beside the runs, with made-up figures: the more, the larger."""
    found = {}
    for index, name in enumerate(reversed(sizes.RUNS)):
        accuracy = 0.9 + 0.01 * index
        found[name] = {
            "command": f"python -m training --recipe {name}",
            "minutes": 4.0,
            "accuracy": dict.fromkeys(["clean", *(f"gaussian {level}" for level in LEVELS), "all kinds"], accuracy)
            | {"moved": 0.8},
            "letters": 0.99,
            "cost": {"single_us": 10.0 * (1 + index), "batch_us": 5.0, "mflop": 1.0 + index},
        }
    return found


def test_the_page_has_every_run_its_command_and_the_shipped_pair(results, tmp_path):
    (tmp_path / "results").mkdir()
    page = sizes.write_page(results, tmp_path, MODELS).read_text()

    assert all(f"`python -m training --recipe {name}`" in page for name in sizes.RUNS)
    assert stamps(page) == {str(pair(MODELS))}
    assert (tmp_path / sizes.PICTURE).stat().st_size > 1000


def test_the_cheapest_comes_first_and_the_front_is_marked(results):
    rows = sizes.table(results, {"large", "small"}).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]

    assert [row[0] for row in cells] == list(reversed(sizes.RUNS))
    assert [row[0] for row in cells if row[-1] == "yes"] == ["small", "large"]
    assert cells[0][:4] == ["direct-small", "1.0", "10", "200,000"]
    assert cells[0][4:-1] == [*6 * ["90.00"], "80.00", "0.9900"]


# Keras 3.15 converts TensorFlow variables with NumPy's older protocol.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning")
@pytest.mark.timeout(300)
def test_a_run_is_measured_once_in_the_serving_engine(tmp_path, monkeypatch):
    arrays = synthetic_mnist(train=96, test=16)
    monkeypatch.setattr(sizes, "load_mnist", lambda path: arrays)
    monkeypatch.setattr(sizes, "RUNS", {"run": ("direct-small", False)})
    monkeypatch.setattr(sizes.cost, "ROUNDS", 1)
    config = TrainingConfig(recipe="direct-small", epochs=1, batch_size=32, validation=32)
    runs.train(config, split(arrays, validation=32, seed=config.seed), tmp_path / "run")

    found, costs = sizes.measured(tmp_path / "run"), sizes.measured_costs(tmp_path)

    assert found["command"] == "python -m training --recipe direct-small --epochs 1 --batch-size 32 --validation 32"
    assert all(0 <= share <= 1 for share in found["accuracy"].values()) and len(found["accuracy"]) == 7
    assert 2.9 < costs["run"]["mflop"] < 3.1 and costs["run"]["single_us"] > 1
    (tmp_path / "run" / "classifier.onnx").unlink()
    assert sizes.measured(tmp_path / "run") == found == json.loads((tmp_path / "run" / "size.json").read_text())
    assert sizes.measured_costs(tmp_path) == costs
