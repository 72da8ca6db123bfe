"""Unlike the usual browser and hand: no storage, no scripts, stricter policies, high contrast, paper, two fingers."""

import subprocess
from io import BytesIO

import numpy as np
import orjson
import pytest
from PIL import Image
from playwright.sync_api import Page, Route, expect

from services.gateway.pages.demo import OPENING_NUMBER
from tests.browser.demo_page import FIRST_DIGIT, PHONE
from tests.browser.test_numbers import wait_for_number

STORAGE_THROWS = """Object.defineProperty(window, "sessionStorage", {
  get() { throw new DOMException("The operation is insecure.", "SecurityError"); },
});"""
STORAGE_IS_NULL = 'Object.defineProperty(window, "sessionStorage", { value: null });'
CANVAS_LIES = """OffscreenCanvasRenderingContext2D.prototype.getImageData = (x, y, width, height) =>
  new ImageData(Uint8ClampedArray.from({ length: 4 * width * height }, (_, at) => (at * 97) % 256), width, height);"""
ON_A_LINE = 131_072  # bytes that Linux lets one argument have


@pytest.mark.parametrize("script", [STORAGE_THROWS, STORAGE_IS_NULL])
def test_it_works_where_the_browser_keeps_no_data_of_sites(open_page, script):
    demo = open_page(before=lambda page: page.add_init_script(script))

    demo.wait_for_answer()
    assert demo.digits()[0] == FIRST_DIGIT


@pytest.mark.parametrize("path", ["", "/numbers"])
def test_it_works_under_a_stricter_policy_of_a_proxy(open_page, stack, path):
    def stricter(route: Route) -> None:
        response = route.fetch()
        policies = f"{response.headers['content-security-policy']}, default-src 'self'"
        route.fulfill(response=response, headers={**response.headers, "content-security-policy": policies})

    demo = open_page(
        stack.url + path, before=lambda page: page.route(f"**{path}/" if not path else f"**{path}", stricter)
    )
    expect(demo.reading).to_have_attribute("data-state", "shown")
    assert demo.complaints == []


@pytest.mark.parametrize("path", ["", "/numbers"])
def test_a_browser_that_falsifies_canvases_is_told_so_instead_of_shown_nonsense(open_page, stack, path):
    demo = open_page(stack.url + path, before=lambda page: page.add_init_script(CANVAS_LIES))

    expect(demo.notice_text).to_contain_text("This browser keeps pages from reading what is drawn on them")
    expect(demo.reading).to_have_attribute("data-state", "empty")


def test_what_nobody_expected_is_said(open_page):
    """An old browser may lack what the page needs."""
    demo = open_page(before=lambda page: page.add_init_script("delete window.OffscreenCanvas"))

    expect(demo.notice_text).to_have_text("Something went wrong on this page.")
    expect(demo.notice_detail).to_contain_text("OffscreenCanvas is not defined")
    assert demo.complaints
    demo.complaints.clear()


def test_an_answer_that_takes_long_leaves_no_old_one_beside_the_new_picture(demo):
    holding = True
    held: list[Route] = []
    demo.page.route("**/v1/recognize*", lambda route: held.append(route) if holding else route.continue_())

    demo.set_level_without_waiting(0)
    expect(demo.stale).to_be_visible()
    demo.take_sample_without_waiting(3)
    expect(demo.reading).to_have_attribute("data-state", "empty")
    demo.until(lambda: not demo.pixels("noisy").any())  # the digit from before is not what was sent
    holding = False
    for route in held:
        route.continue_()
    demo.wait_for_answer()
    assert demo.digits()[0] == "3"
    expect(demo.stale).to_be_hidden()


def test_on_the_way_back_the_answer_is_to_what_the_browser_filled_in(demo):
    demo.choose_kind("gaussian")
    demo.set_level(0.2)
    demo.page.get_by_role("link", name="A number").click()
    wait_for_number(demo)

    demo.page.go_back()
    demo.wait_for_answer()
    level = float(demo.level.input_value())
    expect(demo.level_text).to_have_text(f"{level:.2f}")
    demo.wait_for_answer()
    kind = demo.page.locator("#kinds :checked").get_attribute("value")
    assert kind is not None
    assert (demo.pixels("noisy") == demo.thumbnail(kind)).all()


def empty_pad(open_page):
    """A phone's page with nothing drawn, its pad's place, and what sends touches that Playwright cannot."""
    demo = open_page(**PHONE)
    demo.wait_for_answer()
    demo.clear.tap()
    return demo, demo.canvas.bounding_box(), demo.page.context.new_cdp_session(demo.page)


def test_a_second_finger_neither_ends_a_stroke_nor_draws(open_page):
    demo, box, session = empty_pad(open_page)

    def touch(kind: str, *points: tuple[int, float, float]) -> None:
        at = [{"id": n, "x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for n, x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    touch("touchStart", (1, 0.3, 0.1))
    touch("touchMove", (1, 0.3, 0.3))
    touch("touchStart", (1, 0.3, 0.3), (2, 0.8, 0.8))
    touch("touchMove", (1, 0.3, 0.4), (2, 0.7, 0.8))
    touch("touchEnd", (2, 0.7, 0.8))
    for step in range(5, 10):
        touch("touchMove", (1, 0.3, step / 10))
    touch("touchEnd")
    assert ink_of(demo) == pytest.approx((0.3, 0.1, 0.3, 0.9), abs=0.06)


def test_the_hand_that_holds_a_pen_does_not_draw(open_page):
    demo, box, session = empty_pad(open_page)

    def at(x: float, y: float) -> dict[str, float]:
        return {"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]}

    def pen(kind: str, x: float, y: float) -> None:
        event = {"type": kind, **at(x, y), "button": "left", "pointerType": "pen", "force": 0.5, "clickCount": 1}
        session.send("Input.dispatchMouseEvent", {**event, "buttons": int(kind != "mouseReleased")})

    def hand(kind: str, *points: tuple[float, float]) -> None:
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [at(*point) for point in points]})

    pen("mousePressed", 0.3, 0.1)
    pen("mouseMoved", 0.3, 0.3)
    hand("touchStart", (0.9, 0.9))
    hand("touchMove", (0.8, 0.85))
    pen("mouseMoved", 0.3, 0.6)
    hand("touchEnd")
    pen("mouseMoved", 0.3, 0.9)
    pen("mouseReleased", 0.3, 0.9)
    assert ink_of(demo) == pytest.approx((0.3, 0.1, 0.3, 0.9), abs=0.06)


def ink_of(demo) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of what is drawn on the pad, as shares of its side."""
    rows, columns = np.nonzero(demo.pixels("canvas") > 128)
    side = demo.canvas.evaluate("canvas => canvas.height")
    return columns.min() / side, rows.min() / side, columns.max() / side, rows.max() / side


def test_where_the_clipboard_is_refused_the_command_is_selected(open_page):
    refuse = 'Clipboard.prototype.writeText = () => Promise.reject(new DOMException("no", "NotAllowedError"))'
    demo = open_page(before=lambda page: page.add_init_script(refuse))
    demo.wait_for_answer()

    demo.copy.click()
    expect(demo.copy).to_have_text("Selected")
    assert demo.page.evaluate("getSelection().toString()").strip() == demo.curl.inner_text()


def test_without_scripts_there_is_nothing_but_what_is_said_of_that(open_page):
    page = open_page(java_script_enabled=False).page

    expect(page.locator("noscript p")).to_be_visible()
    expect(page.locator("#status")).to_be_hidden()
    expect(page.locator("main")).to_be_hidden()


def test_in_high_contrast_what_is_chosen_and_what_is_switched_off_show(open_page):
    demo = open_page(forced_colors="active", color_scheme="light")
    demo.wait_for_answer()

    def style(selector: str, name: str) -> str:
        return demo.page.locator(selector).first.evaluate(f"one => getComputedStyle(one).{name}")

    assert style(".kinds label:has(:checked)", "outlineStyle") == "solid"
    assert style(".kinds label:not(:has(:checked))", "outlineStyle") == "none"
    assert style("nav a[aria-current]", "outlineStyle") == "solid"
    assert style("#undo", "color") != style("#clear", "color")


def test_in_high_contrast_boxes_are_seen_on_the_black_pad(open_page, stack):
    demo = open_page(f"{stack.url}/numbers", forced_colors="active", color_scheme="light")
    wait_for_number(demo)

    colour = demo.page.locator("#boxes li").first.evaluate("one => getComputedStyle(one).borderTopColor")
    assert colour != "rgb(0, 0, 0)"


def test_on_paper_the_bars_are_there(demo):
    """Browsers leave out backgrounds unless a page insists."""
    demo.page.emulate_media(media="print")

    adjust = demo.page.locator("#bars .fill").first.evaluate("one => getComputedStyle(one).printColorAdjust")
    assert adjust == "exact"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_a_long_number_is_shown_to_its_last_digit(open_page, stack, width):
    demo = open_page(f"{stack.url}/numbers", viewport={"width": width, "height": 844})
    wait_for_number(demo)
    demo.set_level_without_waiting(0)
    demo.page.get_by_role("button", name="Sample number 31415926").click()
    expect(demo.number_with).to_have_text("31415926")

    cut = demo.page.locator("#number-with, #remarks, #samples button").evaluate_all(
        "all => all.filter((one) => one.scrollWidth > one.clientWidth + 1).map((one) => one.textContent)"
    )
    assert cut == []


def test_a_number_that_may_be_none_is_called_that(open_page, stack):
    def other(route: Route) -> None:
        response = route.fetch()
        answer = response.json()
        rivals = [{"number": "", "probability": 0.02}, {"number": "7", "probability": 0.0001}]
        answer["results"][0] |= {"alternatives": rivals, "hint": None}
        route.fulfill(response=response, json=answer)

    def prepare(page: Page) -> None:
        page.route("**/v1/read*", other)

    demo = open_page(f"{stack.url}/numbers", before=prepare)
    wait_for_number(demo)
    expect(demo.remarks).to_have_text("Or no number (2.0 %)")


def test_a_large_picture_is_asked_for_from_its_file(open_page, stack, tmp_path):
    """A command may not be as long as a photograph."""
    demo = open_page(f"{stack.url}/numbers")
    wait_for_number(demo)
    expect(demo.number_with).to_have_text(OPENING_NUMBER["number"])
    demo.set_level_without_waiting(0)
    photo = Image.effect_noise((900, 500), 30)
    name = "a visitor's.png"
    out = BytesIO()
    photo.save(out, "PNG")
    (tmp_path / name).write_bytes(out.getvalue())
    assert out.tell() > ON_A_LINE

    demo.file.set_input_files(tmp_path / name)
    expect(demo.call_note).to_contain_text("read from its file")
    command = demo.curl.inner_text()
    shown = subprocess.run(["bash", "-c", command], capture_output=True, check=True, cwd=tmp_path)
    assert orjson.loads(shown.stdout)["count"] == 1
    demo.page.get_by_role("button", name="Sample number 2026").click()
    expect(demo.call_note).to_contain_text("picture included")


def test_a_huge_file_is_made_smaller_before_it_is_sent(demo, rng):
    noise = Image.fromarray(rng.integers(0, 256, (1800, 1800, 3)).astype(np.uint8))
    out = BytesIO()
    noise.save(out, "PNG", compress_level=0)
    assert out.tell() > 9e6

    with demo.page.expect_request(lambda request: "preprocess=auto" in request.url) as asked:
        demo.file.set_input_files({"name": "huge.png", "mimeType": "image/png", "buffer": out.getvalue()})
    assert int(asked.value.header_value("content-length")) < 8e6
    demo.wait_for_answer()
