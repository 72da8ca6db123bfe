"""For everybody: keyboard, screen reader, phone, both themes; nothing jumps, nothing is fetched from elsewhere."""

import subprocess

import orjson
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, Response, expect

from tests.browser.demo_page import PHONE
from tests.browser.strokes import draw

DESKTOP = {"viewport": {"width": 1280, "height": 800}}
BUDGET_BYTES = 100_000
ON_THE_WIRE_BYTES = 32_000


def violations(page: Page) -> str:
    """What axe-core finds, in words; empty when all is well."""
    return "\n".join(
        f"{found['id']}: {found['help']}: {[node['target'] for node in found['nodes']]}"
        for found in Axe().run(page).response["violations"]
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing(open_page, scheme, device):
    demo = open_page(**device, color_scheme=scheme)
    demo.wait_for_answer()
    demo.sweep.click()
    expect(demo.chart).to_have_attribute("data-state", "shown", timeout=30_000)
    demo.page.locator("summary").click()

    assert violations(demo.page) == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_the_documentation_fits_and_axe_finds_nothing_in_it(open_page, stack, scheme, width):
    page = open_page(f"{stack.url}/docs", viewport={"width": width, "height": 800}, color_scheme=scheme).page

    page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    assert violations(page) == ""
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    scrolling = page.locator(".scroll").evaluate_all(
        "all => all.filter((one) => one.scrollWidth > one.clientWidth + 1)"
    )
    assert scrolling == []


def test_axe_finds_nothing_in_an_empty_page_or_a_troubled_one(demo):
    demo.page.route("**/v1/recognize*", lambda route: route.abort("connectionrefused"))
    demo.again.click()
    expect(demo.reading).to_have_attribute("data-stale", "true")
    assert violations(demo.page) == ""
    demo.page.unroute("**/v1/recognize*")
    demo.wait_for_answer()
    assert demo.forgive() > 0

    demo.clear.click()
    assert violations(demo.page) == ""

    demo.file.set_input_files({"name": "notes.txt", "mimeType": "text/plain", "buffer": b"seven"})
    expect(demo.notice).to_be_visible()
    assert violations(demo.page) == ""
    assert demo.forgive() == 1


def test_everything_is_done_with_the_keyboard(demo):
    page = demo.page
    reached: list[str] = []

    def tab_to(name: str) -> None:
        for _ in range(40):
            page.keyboard.press("Tab")
            here = page.evaluate("(({ ariaLabel, id, name }) => ariaLabel || id || name)(document.activeElement)")
            reached.append(here)
            if here == name:
                return
        raise AssertionError(f"{name} is not reached by Tab; on the way: {reached}")

    tab_to("file")
    tab_to("Sample digit 3")
    page.keyboard.press("Enter")
    demo.wait_for_answer()
    assert demo.digits()[0] == "3"
    tab_to("level")
    page.keyboard.press("Home")
    expect(demo.level_text).to_have_text("0.00")
    tab_to("again")
    page.keyboard.press("Space")
    tab_to("kind")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Occlusion")).to_be_checked()
    demo.wait_for_answer()
    tab_to("sweep")
    page.keyboard.press("Enter")
    expect(demo.chart).to_have_attribute("data-state", "shown", timeout=30_000)
    expect(demo.sweep).to_be_focused()
    tab_to("copy")
    tab_to("curl command")


def test_focus_is_visible_wherever_it_goes(demo):
    page = demo.page
    for _ in range(22):
        page.keyboard.press("Tab")
        outline = page.evaluate(
            """() => {
              const active = document.activeElement;
              const hidden = ["file", "radio"].includes(active.type); // its label shows it
              const here = hidden ? active.closest("label") : active;
              return here === document.body ? "body" : getComputedStyle(here).outlineStyle;
            }"""
        )
        assert outline != "none", page.evaluate("document.activeElement.outerHTML")


def test_the_answer_is_announced_once_it_is_quiet(demo):
    demo.set_level(0)

    expect(demo.announcement).to_have_text(
        f"With the denoiser: {demo.digits()[0]}, {demo.confidence_with.inner_text().removesuffix(' sure')}. "
        f"Without: {demo.digits()[1]}, {demo.confidence_without.inner_text().removesuffix(' sure')}."
    )


def test_a_finger_draws_on_a_phone(open_page):
    demo = open_page(**PHONE)
    demo.wait_for_answer()
    demo.set_level(0)
    demo.clear.tap()

    box = demo.canvas.bounding_box()
    session = demo.page.context.new_cdp_session(demo.page)
    path = [(0.3, 0.2), (0.5, 0.19), (0.72, 0.19), (0.64, 0.38), (0.56, 0.55), (0.5, 0.7), (0.44, 0.86)]
    points = [[{"x": box["x"] + box["width"] * x, "y": box["y"] + box["height"] * y}] for x, y in path]
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": points[0]})
    for point in points[1:]:
        session.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": point})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    demo.wait_for_answer()
    assert demo.digits()[0] == "7"
    assert demo.page.evaluate("scrollY") == 0  # drawing does not scroll the page


@pytest.mark.parametrize("width", [320, 360, 390, 600, 768, 1000, 1024, 1280, 1920])
def test_nothing_sticks_out_at_any_width(open_page, width):
    demo = open_page(viewport={"width": width, "height": 800})
    demo.wait_for_answer()

    assert demo.page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_phone_the_answer_is_in_view_while_drawing(open_page):
    demo = open_page(**PHONE)
    demo.wait_for_answer()

    assert demo.page.evaluate("scrollY") == 0
    for shown in (demo.canvas, demo.digit_with, demo.digit_without, demo.noisy, demo.denoised, demo.level):
        expect(shown).to_be_in_viewport(ratio=1)


def test_targets_are_large_enough_for_a_finger(open_page):
    demo = open_page(**PHONE)
    demo.wait_for_answer()

    sizes = demo.page.locator("button:visible, .kinds label, .button").evaluate_all(
        "all => all.map((one) => [one.id || one.ariaLabel, one.offsetWidth, one.offsetHeight])"
    )
    assert [size for size in sizes if min(size[1:]) < 32] == []


SHIFTS = """() => new Promise((resolve) => {
  const shifts = [];
  const note = ({ value, sources, hadRecentInput }) => {
    if (!hadRecentInput) shifts.push([value, ...sources.map(({ node }) => node?.id || node?.className)]);
  };
  new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({ type: "layout-shift", buffered: true });
  setTimeout(() => resolve(shifts), 300);
})"""


@pytest.mark.parametrize("device", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_nothing_jumps(open_page, device):
    """Not while it loads, not when answers arrive, not when a sweep is drawn or the stack goes away."""
    demo = open_page(**device)
    demo.wait_for_answer()
    demo.set_level(1)
    demo.clear.click()
    demo.page.wait_for_timeout(600)  # shifts within half a second of a click would be forgiven
    demo.take_sample(1)
    demo.sweep.click()
    expect(demo.chart).to_have_attribute("data-state", "shown", timeout=30_000)

    demo.page.route("**/v1/recognize*", lambda route: route.abort("connectionrefused"))
    demo.set_level_without_waiting(0.3)
    expect(demo.status_text).to_have_text("Not ready")
    demo.page.unroute("**/v1/recognize*")
    demo.wait_for_answer()

    assert demo.page.evaluate(SHIFTS) == []
    assert demo.forgive() > 0


def test_the_whole_page_is_small(open_page):
    responses: list[Response] = []

    def weigh(page: Page) -> None:
        page.on("response", lambda response: responses.append(response) if "/v1/" not in response.url else None)

    demo = open_page(before=weigh)
    demo.wait_for_answer()

    assert 20_000 < sum(len(response.body()) for response in responses) < BUDGET_BYTES
    assert sum(response.request.sizes()["responseBodySize"] for response in responses) < ON_THE_WIRE_BYTES
    text = [response for response in responses if "json" not in response.headers["content-type"]]
    assert {response.headers.get("content-encoding") for response in text} == {"gzip"}


def test_a_second_visit_fetches_no_file_again(demo):
    page = demo.page
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    kept: set[str] = set()
    fetched: set[str] = set()
    session.on("Network.requestServedFromCache", lambda event: kept.add(event["requestId"]))

    def received(event):
        if "/assets/" in event["response"]["url"]:
            from_disk = event["response"]["fromDiskCache"] or event["requestId"] in kept
            (kept if from_disk else fetched).add(event["response"]["url"].rsplit("/", 1)[1])

    session.on("Network.responseReceived", received)
    page.goto(page.url)
    demo.wait_for_answer()
    assert fetched == set()
    assert {"app.js", "page.css"} <= kept


def test_the_curl_command_gives_the_same_answer(demo):
    shown = subprocess.run(["bash", "-c", demo.curl.inner_text()], capture_output=True, check=True)

    result = orjson.loads(shown.stdout)["results"][0]
    assert str(result["digit"]) == demo.digits()[0]
    share = result["confidence"]
    assert demo.confidence_with.inner_text() == (">99.9 % sure" if share > 0.9995 else f"{100 * share:.1f} % sure")


def test_every_link_leads_somewhere(demo):
    links = demo.page.locator("a:visible").evaluate_all("all => all.map((link) => link.href)")

    assert len(links) == 5
    assert {link: demo.page.request.get(link).status for link in links} == dict.fromkeys(links, 200)


def test_the_command_is_copied(open_page):
    demo = open_page(permissions=["clipboard-read", "clipboard-write"])
    demo.wait_for_answer()

    demo.copy.click()
    expect(demo.copy).to_have_text("Copied")
    assert demo.page.evaluate("navigator.clipboard.readText()") == demo.curl.inner_text()


def test_where_the_clipboard_is_closed_the_command_is_selected(open_page):
    """Over plain HTTP from another machine there is no navigator.clipboard."""
    demo = open_page(before=lambda page: page.add_init_script("delete Navigator.prototype.clipboard"))
    demo.wait_for_answer()

    demo.copy.click()
    expect(demo.copy).to_have_text("Selected")
    assert demo.page.evaluate("getSelection().toString()").strip() == demo.curl.inner_text()


def test_without_motion_nothing_moves(open_page):
    demo = open_page(reduced_motion="reduce")
    demo.wait_for_answer()

    durations = demo.page.locator("#bars .fill").first.evaluate("fill => getComputedStyle(fill).transitionDuration")
    assert durations == "0s"


def test_live_answers_come_while_drawing(demo):
    """The page reads before the pen is lifted."""
    demo.clear.click()
    box = demo.canvas.bounding_box()
    demo.page.mouse.move(box["x"] + 150, box["y"] + 50)
    demo.page.mouse.down()
    demo.page.mouse.move(box["x"] + 150, box["y"] + 250, steps=8)
    demo.wait_for_answer()

    expect(demo.digit_with).not_to_have_text("–")
    demo.page.mouse.up()


def test_two_drawings_in_a_row_do_not_mix(demo):
    demo.set_level(0)
    demo.clear.click()
    draw(demo.page, 0)
    demo.clear.click()
    draw(demo.page, 1)
    demo.wait_for_answer()

    assert demo.digits()[0] == "1"
