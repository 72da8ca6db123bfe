"""The page of sizes and controls says what the runs found."""

import json

import pytest

from services.core.model_digest import pair, stamps
from tests.support.stack import MODELS
from training import sizes
from training.measure import LEVELS


@pytest.fixture
def results():
    """As the job leaves them, with made-up figures: the more, the larger."""
    found = {}
    for index, name in enumerate(reversed(sizes.RUNS)):
        accuracy = 0.9 + 0.01 * index
        found[name] = {
            "command": f"python -m training --recipe {name}",
            "minutes": 4.0,
            "measured": {
                "clean": accuracy,
                "chain": {"gaussian": {str(level): accuracy for level in LEVELS}},
                "robust_mean": accuracy,
                "wide": {"moved": {"by 5 px": {"chain": 0.8}}, "is_digit": {"0.5": {"letters": {"auroc": 0.99}}}},
            },
        }
    return found


@pytest.fixture
def costs():
    return {
        name: {"single_us": 10.0 * (1 + index), "batch_us": 5.0, "mflop": 1.0 + index}
        for index, name in enumerate(reversed(sizes.RUNS))
    }


def test_the_page_has_every_run_its_command_and_the_shipped_pair(results, costs, tmp_path):
    (tmp_path / "results").mkdir()
    page = sizes.write_page(results, costs, tmp_path, MODELS).read_text()

    assert all(f"`python -m training --recipe {name}`" in page for name in sizes.RUNS)
    assert stamps(page) == {str(pair(MODELS))}
    assert (tmp_path / sizes.PICTURE).stat().st_size > 1000


def test_the_cheapest_comes_first_and_the_front_is_marked(results, costs):
    costs["direct"]["single_us"] = 1000.0  # worse than large, and dearer
    rows = sizes.table(results, costs, {"large", "small"}).splitlines()[2:]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]

    assert [row[0] for row in cells] == list(reversed(sizes.RUNS))
    assert [row[0] for row in cells if row[-1] == "yes"] == ["small", "large"]
    assert cells[0][:4] == ["direct-small", "1.0", "10", "200,000"]
    assert cells[0][4:-1] == [*6 * ["90.00"], "80.00", "0.9900"]


def test_costs_are_measured_once(results, costs, tmp_path):
    (tmp_path / "cost.json").write_text(json.dumps(costs))

    assert sizes.costs(tmp_path) == costs
