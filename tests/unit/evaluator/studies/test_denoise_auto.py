"""The comparison of auto with always and never: what it counts, prints and refuses."""

import numpy as np
import pytest

from services.core.noise import NOISES
from services.evaluator.studies.denoise_auto import LEVELS, MOVES_PX, DenoiseRow, compare, main, moved
from tests.support.tiny_models import digits, write_tiny_models


class Chain:
    """Reads every picture as 1 once it is denoised, and as 0 before."""

    def denoise(self, images: np.ndarray) -> np.ndarray:
        return np.full_like(images, 2.0)

    def classify(self, images: np.ndarray) -> np.ndarray:
        return np.eye(10)[(images.max(axis=(1, 2, 3)) > 1).astype(int)]


def test_auto_is_right_where_it_chose_the_right_way():
    noisy = np.random.default_rng(0).random((20, 28, 28, 1), np.float32)
    labels = np.array([1] * 15 + [0] * 5)

    rows = list(compare(Chain(), noisy, labels))

    assert len(rows) == 1 + len(MOVES_PX) + len(NOISES) * len(LEVELS)
    for row in rows:  # random pictures show every sign of harm
        assert (row.always, row.never, row.auto, row.denoised) == (75, 25, 75, 100)
        assert row.lost == 0


def test_moved_pictures_keep_their_ink_inside_the_frame(rng):
    dots = np.zeros((40, 28, 28, 1), np.float32)
    dots[:, 14, 14] = 1

    found = {tuple(np.argwhere(each[..., 0])[0].tolist()) for each in moved(dots, 3, rng)}

    assert found == {(11, 11), (11, 17), (17, 11), (17, 17)}
    assert not moved(dots, 20, rng).any()


def test_a_row_is_a_line_of_a_table():
    assert (
        str(DenoiseRow("shot", 0.5, 99.0, 98.0, 98.8, 40.0)) == "| shot | 0.5 | 99.00 | 98.00 | 98.80 | 40.0 % | 0.20 |"
    )


@pytest.mark.parametrize("part", ["test", "train"])
def test_the_report_and_the_exit_status_say_the_same(tmp_path, capsys, part):
    pictures, labels = digits(50)
    np.savez(tmp_path / "set.npz", **{f"x_{part}": pictures, f"y_{part}": labels})
    models, report = write_tiny_models(tmp_path / "models"), tmp_path / "report.md"
    arguments = ["--models", str(models), "--dataset", str(tmp_path / "set.npz"), "--report", str(report)]

    status = main(arguments + ["--training"] * (part == "train"))

    text = report.read_text()
    assert f"50 {part} images" in text
    assert text.removeprefix("# denoise=auto\n\n") == capsys.readouterr().out
    worst = float(text.rpartition("At worst ")[2].split()[0])
    assert status == (worst > 0.1)
