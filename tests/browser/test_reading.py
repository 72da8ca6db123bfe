"""From strokes to digits, through the shipped models."""

import pytest
from playwright.sync_api import expect

from services.core.noise import NOISES
from tests.browser.demo_page import FIRST_DIGIT
from tests.browser.strokes import draw

DIGITS_RIGHT = 9  # of ten


def test_drawn_digits_are_read(demo):
    demo.set_level(0)

    read = []
    for digit in range(10):
        demo.draw(digit)
        read.append(demo.digits()[0])
    assert sum(text == str(digit) for digit, text in enumerate(read)) >= DIGITS_RIGHT, read


def test_drawn_digits_are_read_through_noise(demo):
    demo.set_level(0.5)

    read = []
    for digit in range(10):
        demo.draw(digit)
        read.append(demo.digits()[0])
    assert sum(text == str(digit) for digit, text in enumerate(read)) >= DIGITS_RIGHT, read


@pytest.mark.parametrize("level", [0, 0.5])
def test_samples_are_read(demo, level):
    demo.set_level(level)

    read = []
    for digit in range(10):
        demo.take_sample(digit)
        read.append(demo.digits()[0])
    assert sum(text == str(digit) for digit, text in enumerate(read)) >= DIGITS_RIGHT, read


def test_a_small_digit_fills_the_same_28_pixels(demo):
    demo.set_level(0)

    demo.draw(7, size=0.5)
    ink = demo.pixels("clean") > 64
    assert ink.any(axis=1).sum() in range(18, 23)
    assert demo.digits()[0] == "7"


def test_the_first_view_already_tells_the_story(demo):
    assert demo.digits()[0] == FIRST_DIGIT
    assert float(demo.level_text.inner_text()) == 0.7
    assert demo.pixels("noisy").std() > demo.pixels("denoised").std()


def test_drawing_over_a_sample_starts_afresh(demo):
    demo.set_level(0)

    draw(demo.page, 1)
    demo.wait_for_answer()
    assert demo.digits()[0] == "1"
    draw(demo.page, 1, size=0.3)  # the next strokes belong to the same drawing
    demo.undo.click()
    demo.wait_for_answer()
    assert demo.digits()[0] == "1"


def test_without_noise_what_is_sent_is_the_clean_picture(demo):
    demo.set_level(0)

    assert (demo.pixels("noisy") == demo.pixels("clean")).all()


def test_the_slider_moves_one_noise_sample(demo):
    """The noise follows the slider: a small step changes the picture a little, and back is the same picture."""
    demo.set_level(0.5)
    before = demo.pixels("noisy").astype(int)

    demo.set_level(0.51)
    near = demo.pixels("noisy").astype(int)
    demo.set_level(0.5)
    assert 0 < abs(near - before).mean() < 5
    assert (demo.pixels("noisy") == before).all()


def test_new_noise_is_another_picture(demo):
    before = demo.pixels("noisy").astype(int)

    demo.again.click()
    demo.wait_for_answer()
    assert abs(demo.pixels("noisy") - before).mean() > 20


def test_every_kind_of_noise_is_offered_and_read(demo):
    kinds = demo.kind.locator("option").evaluate_all("options => options.map((option) => option.value)")
    assert kinds == list(NOISES)

    pictures = []
    for kind in kinds:
        demo.kind.select_option(kind)
        demo.wait_for_answer()
        pictures.append(demo.pixels("noisy").tobytes())
    assert len(set(pictures)) == len(kinds)


def test_ten_probabilities_on_each_side(demo):
    values = demo.page.locator("#bars .value").all_inner_texts()
    shares = [float(value.removesuffix(" %").removeprefix(">")) for value in values]

    assert len(shares) == 20
    assert sum(shares[0::2]) == pytest.approx(100, abs=1)
    assert sum(shares[1::2]) == pytest.approx(100, abs=1)
    assert f"{max(shares[1::2]):g}" in demo.confidence_with.inner_text()


def test_times_and_versions_are_shown(demo):
    stages = demo.stage_legend.inner_text()

    assert "ms in the service" in demo.timing_text.inner_text()
    assert all(stage in stages for stage in ("decode", "wait", "denoise", "classify", "other"))
    assert stages.count("ms") == 5
    expect(demo.status_text).to_have_text("Ready")
    expect(demo.status_detail).to_have_text("denoiser v1, classifier v1")


def test_undo_takes_the_last_stroke_back_and_clear_everything(demo):
    demo.draw(4)
    drawn = demo.pixels("clean")

    demo.undo.click()
    demo.wait_for_answer()
    assert (demo.pixels("clean") != drawn).any()
    demo.clear.click()
    expect(demo.pad_hint).to_be_visible()
    expect(demo.digit_with).to_have_text("–")
    expect(demo.sweep).to_be_disabled()
    assert not demo.pixels("denoised").any()
