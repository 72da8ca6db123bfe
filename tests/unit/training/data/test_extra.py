"""A user's labelled pictures: read, refused when wrong, split the same way each time, mixed in within bounds."""

from dataclasses import replace

import numpy as np
import pytest

from services.core.noise import NOISES
from services.evaluator.corrections import export
from services.runtime.captures import NO_DIGIT
from tests.support.captured import capture
from tests.support.digits import draw_digits, synthetic_mnist
from training.__main__ import main
from training.data.batches import EXTRA_SHARE, EXTRA_SHOWN, BatchMaker, NoiseMix
from training.data.dataset import split
from training.data.extra import HELD_BACK, load_extra
from training.errors import DataError

COUNT = 200


@pytest.fixture
def arrays(rng):
    labels = rng.integers(0, 10, COUNT)
    none = rng.integers(0, 256, (50, 28, 28), dtype=np.uint8)
    return {"x": draw_digits(labels, rng), "y": labels, "no_digit": none}


@pytest.fixture
def written(tmp_path):
    def write(arrays):
        np.savez_compressed(tmp_path / "corrections.npz", **arrays)
        return tmp_path / "corrections.npz"

    return write


def pixels(images):
    return {image.tobytes() for image in images}


def test_what_make_corrections_exports_is_read_with_its_digest(tmp_path, rng):
    picture = rng.integers(0, 256, (2, 28, 28), dtype=np.uint8)
    seven, none = (capture(name, pixels=each) for name, each in zip("ab", picture, strict=True))
    exported = export.npz([replace(seven, label=7), replace(none, label=NO_DIGIT)])
    (tmp_path / "corrections.npz").write_bytes(exported)
    extra = load_extra(tmp_path / "corrections.npz")

    assert extra.sha256 == export.digest(exported)
    assert extra.described() == {
        "file": "corrections.npz",
        "sha256": extra.sha256,
        "digits": 1,
        "no_digit": 1,
        "held_back": len(extra.held_back),
    }


def test_each_picture_is_trained_on_or_held_back(arrays, written):
    extra = load_extra(written(arrays))
    sides = [pixels(part.digits.images) | pixels(part.no_digit) for part in (extra.train, extra.held_back)]

    assert not sides[0] & sides[1]
    assert len(extra.train) + len(extra.held_back) == COUNT + 50
    assert len(extra.held_back) / (COUNT + 50) == pytest.approx(HELD_BACK, abs=0.08)
    for part in (extra.train, extra.held_back):
        original = {picture.tobytes(): label for picture, label in zip(arrays["x"], arrays["y"], strict=True)}
        for image, label in zip(part.digits.images, part.digits.labels, strict=True):
            assert original[np.rint(255 * image[..., 0]).astype(np.uint8).tobytes()] == label


def test_a_picture_stays_on_its_side_when_the_file_grows(arrays, written, rng):
    before = load_extra(written(arrays))
    more = {"x": draw_digits(arrays["y"], rng), "y": arrays["y"], "no_digit": arrays["no_digit"]}
    grown = load_extra(written({name: np.concatenate([more[name], arrays[name]]) for name in arrays}))

    assert grown.sha256 != before.sha256
    assert pixels(before.held_back.digits.images) <= pixels(grown.held_back.digits.images)
    assert not pixels(before.held_back.digits.images) & pixels(grown.train.digits.images)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"no_digit": None}, "lacks one of the arrays x, y, no_digit"),
        ({"x": np.zeros((COUNT, 28, 28), np.float32)}, r"x has to be uint8 \(n, 28, 28\), not float32"),
        ({"no_digit": np.zeros((3, 28, 27), np.uint8)}, r"no_digit has to be uint8 .* not uint8 \(3, 28, 27\)"),
        ({"y": np.zeros(COUNT - 1, np.int64)}, "200 pictures need as many whole-number labels"),
        ({"y": np.zeros(COUNT)}, "whole-number labels, not float64"),
        ({"y": np.full(COUNT, 10)}, "labels are digits from 0 to 9, not 10 to 10"),
        ({"y": np.full(COUNT, -1)}, "labels are digits from 0 to 9, not -1 to -1"),
        (dict.fromkeys(("x", "no_digit"), np.zeros((0, 28, 28), np.uint8)) | {"y": np.zeros(0, int)}, "no pictures"),
    ],
)
def test_a_wrong_file_is_refused_with_what_is_wrong(arrays, written, change, said):
    path = written({name: array for name, array in (arrays | change).items() if array is not None})

    with pytest.raises(DataError, match=said):
        load_extra(path)


@pytest.mark.parametrize("damage", ["absent", "cut", "not a zip", "an npy"])
def test_a_file_that_cannot_be_read_is_refused(arrays, written, damage):
    path = written(arrays)
    if damage == "absent":
        path.unlink()
    elif damage == "an npy":
        with path.open("wb") as file:
            np.save(file, arrays["x"])
    else:
        path.write_bytes(path.read_bytes()[:3000] if damage == "cut" else b"digits")

    with pytest.raises(DataError, match="cannot read corrections from"):
        load_extra(path)


def test_only_the_default_recipe_takes_a_file(capsys):
    with pytest.raises(SystemExit):
        main(["--recipe", "cnn", "--extra", "corrections.npz"])

    assert "--extra is for the default recipe" in capsys.readouterr().err


@pytest.fixture
def digits():
    return split(synthetic_mnist(train=3210, test=10), validation=10, seed=0).train


def test_extra_pictures_have_a_bounded_share_and_the_rest_of_a_batch_stays(digits, arrays, written):
    extra = load_extra(written(arrays)).train
    plain = BatchMaker(digits, NoiseMix(), 128, seed=5)
    mixed = BatchMaker(digits, NoiseMix(), 128, seed=5, extra=extra)
    batches = [(plain.make(0, step), mixed.make(0, step)) for step in range(plain.steps)]
    places = np.stack([batch["has_clean"] == 0 for _, batch in batches])

    assert places[:, :102].mean() == pytest.approx(EXTRA_SHARE, abs=0.02)
    assert places[:, 102:].mean() == pytest.approx(EXTRA_SHARE, abs=0.04)
    for (before, after), replaced in zip(batches, places, strict=True):
        np.testing.assert_array_equal(before["noisy"][~replaced], after["noisy"][~replaced])
        np.testing.assert_array_equal(before["labels"][~replaced], after["labels"][~replaced])
        assert (after["labels"][:102] >= 0).all()
        assert (after["labels"][102:] == NO_DIGIT).all()
        assert after["labels"].dtype == before["labels"].dtype
        assert before["has_clean"].all()


def test_a_handful_is_not_shown_over_and_over(digits, arrays, written):
    few = load_extra(written({"x": arrays["x"][:8], "y": arrays["y"][:8], "no_digit": arrays["no_digit"][:0]})).train
    mixed = BatchMaker(digits, NoiseMix(), 128, seed=5, extra=few)
    shown = sum((mixed.make(0, step)["has_clean"] == 0).sum() for step in range(mixed.steps))

    assert 0 < shown <= 1.4 * EXTRA_SHOWN * len(few.digits)


def test_half_of_the_extra_pictures_come_without_more_noise(digits, arrays, written):
    extra = load_extra(written(arrays)).train
    mixed = BatchMaker(digits, NoiseMix({kind: 1 / len(NOISES) for kind in NOISES}), 128, seed=5, extra=extra)
    batches = [mixed.make(0, step) for step in range(mixed.steps)]
    same = [
        (batch["noisy"][place] == batch["clean"][place]).all()
        for batch in batches
        for place in np.flatnonzero(batch["has_clean"] == 0)
    ]

    assert np.mean(same) == pytest.approx(0.5, abs=0.12)
