"""From strokes to digits, through the shipped models."""

import re

import pytest
from playwright.sync_api import expect

from services.core.noise import NOISES
from services.gateway.pages.demo import OPENING
from tests.browser.demo_page import FIRST_DIGIT, PHONE
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
    demo.choose_kind("gaussian")
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
    """It opens with noise that only the chain with the denoiser reads through, and clearly so."""
    right, wrong = demo.digits()

    assert right == FIRST_DIGIT != wrong
    assert float(demo.confidence_with.inner_text().strip(">").removesuffix(" % sure")) > 95
    assert float(demo.level_text.inner_text()) == OPENING["level"]
    expect(demo.page.get_by_role("radio", checked=True)).to_have_value(OPENING["kind"])
    expect(demo.undo).to_be_disabled()


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
    demo.choose_kind("gaussian")
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
    kinds = demo.kinds.locator("input").evaluate_all("inputs => inputs.map((input) => input.value)")
    assert set(kinds) == set(NOISES)

    for kind in kinds:
        demo.choose_kind(kind)
        assert (demo.pixels("noisy") == demo.thumbnail(kind)).all()
    assert len({demo.thumbnail(kind).tobytes() for kind in kinds}) == len(kinds)


def test_the_small_pictures_follow_the_slider(demo):
    demo.set_level(0)

    for kind in set(NOISES):
        assert (demo.thumbnail(kind) == demo.pixels("clean")).all()


def test_a_chosen_kind_comes_into_view_on_a_phone(open_page):
    """The list scrolls sideways; its arrows keys reach what lies outside."""
    demo = open_page(**PHONE)
    demo.wait_for_answer()
    demo.kinds.scroll_into_view_if_needed()
    first, last = (demo.kinds.locator("label").nth(place) for place in (0, -1))
    expect(first).to_be_in_viewport(ratio=1)
    expect(last).not_to_be_in_viewport()

    demo.kinds.locator("input").first.focus()
    demo.page.keyboard.press("ArrowLeft")
    expect(last).to_be_in_viewport(ratio=1)
    assert demo.page.evaluate("scrollX") == 0


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
    expect(demo.status_detail).to_have_text(re.compile(r"^denoiser v\d+, classifier v\d+$"))


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
    assert not demo.thumbnail("stripes").any()


def test_clear_takes_the_old_times_and_curves_away(demo):
    demo.sweep.click()
    expect(demo.chart).to_have_attribute("data-state", "shown", timeout=60_000)

    demo.clear.click()
    assert demo.stage_legend.inner_text().count("–") == 5
    assert demo.timing_text.inner_text().strip() == ""
    assert demo.page.locator("#stages").evaluate("bar => bar.getAttribute('style') ?? ''") == ""
    expect(demo.chart).to_be_hidden()
    expect(demo.sweep_text).to_contain_text("Sends this digit")


def test_undo_brings_back_what_was_there_before(demo):
    """A sample, a cleared drawing, a picture: one step back each."""
    demo.set_level(0)
    demo.draw(1)
    demo.take_sample(3)
    demo.clear.click()

    demo.undo.click()
    demo.wait_for_answer()
    assert demo.digits()[0] == "3"
    demo.undo.click()
    demo.wait_for_answer()
    assert demo.digits()[0] == "1"
    demo.undo.click()
    demo.undo.click()  # what "draw" cleared away
    demo.wait_for_answer()
    assert demo.digits()[0] == FIRST_DIGIT
    expect(demo.undo).to_be_disabled()
