"""The page of numbers: boxes over what was drawn, the cleaned line below the noisy one, rejection, phone, themes."""

from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import expect

from services.gateway.pages.demo import OPENING_NUMBER
from tests.browser.demo_page import PHONE, DemoPage
from tests.browser.strokes import draw_in
from tests.browser.test_access import SHIFTS, violations

SAMPLES = Path(__file__).parents[2] / "docs/samples"
DESKTOP = {"viewport": {"width": 1280, "height": 900}}


@pytest.fixture
def numbers(open_page, stack):
    """Open the page of numbers and wait for its first answer; keyword arguments are Playwright's for a context."""

    def opener(**context: object) -> DemoPage:
        demo = open_page(f"{stack.url}/numbers", **context)
        wait_for_number(demo)
        return demo

    return opener


def wait_for_number(demo: DemoPage) -> None:
    expect(demo.reading).to_have_attribute("aria-busy", "false")
    expect(demo.reading).to_have_attribute("data-state", "shown")


def boxes(demo: DemoPage) -> list[tuple[str, float]]:
    """Each box over the pad: its digit, and where its middle is, as a share of the pad's width."""
    width = demo.canvas.bounding_box()["width"]
    found = demo.page.locator("#boxes li").evaluate_all(
        "all => all.map((one) => [one.querySelector('b').textContent, one.offsetLeft + one.offsetWidth / 2])"
    )
    return [(digit, middle / width) for digit, middle in found]


def test_the_first_view_accepts_only_what_was_cleaned(numbers):
    demo = numbers()

    expect(demo.number_with).to_have_text(OPENING_NUMBER["number"])
    expect(demo.arm_with).to_have_attribute("data-accepted", "true")
    expect(demo.arm_without).to_have_attribute("data-accepted", "false")
    assert demo.boxes.evaluate("list => getComputedStyle(list.children[0]).borderTopStyle") == "solid"
    noisy, denoised = (
        demo.page.locator(name).evaluate("one => [one.width, one.height]") for name in ("#noisy", "#denoised")
    )
    assert noisy == denoised
    assert noisy[0] > noisy[1] == 28


def test_a_drawn_number_is_read_with_a_box_for_each_digit(numbers):
    demo = numbers()
    demo.set_level_without_waiting(0)
    demo.clear.click()
    expect(demo.pad_hint).to_be_visible()
    assert boxes(demo) == []

    for place, digit in enumerate((7, 0, 3)):
        draw_in(demo.page, digit, middle=0.2 + 0.3 * place, share=0.6)
    expect(demo.number_with).to_have_text("703")
    wait_for_number(demo)
    drawn = boxes(demo)
    assert [digit for digit, _ in drawn] == ["7", "0", "3"]
    assert [middle for _, middle in drawn] == pytest.approx([0.2, 0.5, 0.8], abs=0.06)


def test_boxes_stay_on_the_drawing_under_noise(numbers):
    demo = numbers()
    demo.set_level_without_waiting(0)
    wait_for_number(demo)
    clean = boxes(demo)

    demo.set_level_without_waiting(0.3)
    wait_for_number(demo)
    assert boxes(demo) == [(digit, pytest.approx(middle, abs=0.03)) for digit, middle in clean]


def test_what_is_rejected_is_visibly_so(numbers):
    demo = numbers()

    demo.set_level_without_waiting(1)
    expect(demo.arm_with).to_have_attribute("data-accepted", "false")
    wait_for_number(demo)
    badge = demo.sure_with.evaluate("one => getComputedStyle(one, '::before').content")
    assert badge == '"Rejected"' or demo.sure_with.inner_text() == "no number seen"
    styles = demo.page.locator("#boxes li").evaluate_all(
        "all => all.map((one) => getComputedStyle(one).borderTopStyle)"
    )
    assert set(styles) <= {"dashed"}


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_picture_of_a_number_is_read(numbers, kind):
    """Dark ink on paper; TIFF too, which Chromium cannot show."""
    picture = Image.open(SAMPLES / "number-6094649-scan.png")
    out = BytesIO()
    picture.save(out, kind)
    demo = numbers()
    demo.set_level_without_waiting(0)

    demo.file.set_input_files({"name": "scan", "mimeType": f"image/{kind.lower()}", "buffer": out.getvalue()})
    expect(demo.number_with).to_have_text("6094649")
    wait_for_number(demo)
    middles = [middle for _, middle in boxes(demo)]
    assert middles == sorted(middles)
    assert 0 < middles[0] < 0.3 < 0.7 < middles[-1] < 1


def test_a_file_that_is_no_picture_leaves_the_number(numbers):
    demo = numbers()

    demo.file.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"seven"})
    expect(demo.notice_text).to_have_text("This file cannot be read as a picture.")
    expect(demo.number_with).to_have_text(OPENING_NUMBER["number"])
    assert demo.forgive() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_and_nothing_sticks_out(numbers, scheme, device):
    demo = numbers(**device, color_scheme=scheme)
    demo.page.get_by_role("button", name="Sample number 2026").click()
    wait_for_number(demo)
    demo.set_level_without_waiting(0.9)
    wait_for_number(demo)

    assert violations(demo.page) == ""
    assert demo.page.evaluate("document.documentElement.scrollWidth") <= device["viewport"]["width"]
    assert demo.page.evaluate(SHIFTS) == []


def test_a_finger_writes_on_a_phone_with_the_answer_in_view(numbers):
    demo = numbers(**PHONE)
    demo.set_level_without_waiting(0)
    demo.clear.tap()

    box = demo.canvas.bounding_box()
    session = demo.page.context.new_cdp_session(demo.page)
    for left in (0.3, 0.6):  # two sevens
        path = [(0, 0.2), (0.07, 0.19), (0.14, 0.19), (0.1, 0.45), (0.05, 0.84)]
        points = [[{"x": box["x"] + box["width"] * (left + x), "y": box["y"] + box["height"] * y}] for x, y in path]
        session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[0]})
        for point in points[1:]:
            session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": point})
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    expect(demo.number_with).to_have_text("77")
    assert demo.page.evaluate("scrollY") == 0
    for shown in (demo.canvas, demo.noisy, demo.denoised, demo.number_with):
        expect(shown).to_be_in_viewport(ratio=1)


def test_the_two_pages_lead_to_each_other(numbers):
    demo = numbers()

    demo.page.get_by_role("link", name="One digit").click()
    demo.wait_for_answer()
    expect(demo.page.get_by_role("link", name="One digit")).to_have_attribute("aria-current", "page")
    demo.page.get_by_role("link", name="A number").click()
    wait_for_number(demo)
