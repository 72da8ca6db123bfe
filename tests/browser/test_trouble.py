"""The stack goes away, is busy, or asks for a key: the page says so in a sentence, and comes back by itself."""

import json
import re
import threading
import time

import pytest
from playwright.sync_api import Page, Route, expect

from services.gateway.admission.auth import hash_key
from tests.support.stack import running_stack

BACK_MS = 20_000


def problem(route: Route, status: int, slug: str, detail: str, headers: dict[str, str] | None = None) -> None:
    document = {"type": f"/problems/{slug}", "title": slug, "status": status, "detail": detail, "request_id": "r"}
    route.fulfill(
        status=status, body=json.dumps(document), content_type="application/problem+json", headers=headers or {}
    )


def test_a_model_server_goes_away_and_comes_back(open_page):
    with running_stack() as stack:
        demo = open_page(stack.url)
        demo.wait_for_answer()

        stack.denoiser.kill()
        demo.again.click()
        expect(demo.status_text).to_have_text("Not ready", timeout=BACK_MS)
        expect(demo.notice_text).to_have_text("The denoiser is not available. Trying again…")
        expect(demo.status_detail).to_have_text("no denoiser")
        expect(demo.notice_detail).to_have_text(
            re.compile(r"^denoiser [^()]*(\([A-Z_]+\))?$")
        )  # as the gateway says it
        stack.denoiser.start()
        expect(demo.status_text).to_have_text("Ready", timeout=BACK_MS)
        expect(demo.notice).to_be_hidden()
        demo.wait_for_answer()
        assert demo.forgive() > 0


def test_the_gateway_goes_away_and_comes_back(open_page):
    with running_stack() as stack:
        demo = open_page(stack.url)
        demo.wait_for_answer()

        stack.gateway.stop()
        demo.take_sample_without_waiting(3)
        expect(demo.notice_text).to_have_text("The gateway does not answer. Trying again…", timeout=BACK_MS)
        expect(demo.status_text).to_have_text("Not ready")
        stack.gateway.start()
        expect(demo.status_text).to_have_text("Ready", timeout=BACK_MS)
        demo.wait_for_answer()
        assert demo.digits()[0] == "3"
        assert demo.forgive() > 0


def test_opened_while_the_models_are_down_it_starts_when_they_are_up(open_page):
    with running_stack() as stack:
        stack.classifier.stop()
        demo = open_page(stack.url)
        expect(demo.notice_text).to_have_text("The classifier is not available. Trying again…", timeout=BACK_MS)
        expect(demo.reading).not_to_have_attribute("data-stale", "true")  # there is no answer that could be old

        stack.classifier.start()
        expect(demo.status_text).to_have_text("Ready", timeout=BACK_MS)
        demo.wait_for_answer()
        assert demo.forgive() > 0


def test_the_page_says_so_even_when_nothing_is_drawn(demo):
    demo.clear.click()
    demo.page.route("**/readyz", lambda route: route.abort("connectionrefused"))
    demo.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")  # as when a visitor comes back

    expect(demo.notice_text).to_have_text("The gateway does not answer. Trying again…")
    demo.page.unroute("**/readyz")
    expect(demo.notice).to_be_hidden(timeout=BACK_MS)
    expect(demo.status_text).to_have_text("Ready")
    assert demo.forgive() > 0


def colours(demo) -> set[str]:
    """Of the two digits and of the longest bars."""
    return set(
        demo.page.locator("#digit-with, #digit-without, #bars .fill").evaluate_all(
            "all => all.map((one) => getComputedStyle(one)[one.id ? 'color' : 'backgroundColor'])"
        )
    )


def test_an_old_answer_fades_until_there_is_a_new_one(demo):
    demo.page.emulate_media(reduced_motion="reduce")
    full = colours(demo)
    demo.page.route("**/v1/recognize*", lambda route: route.abort("connectionrefused"))

    demo.again.click()
    expect(demo.stale).to_be_visible()
    assert not colours(demo) & full
    expect(demo.noisy).to_have_css("opacity", "0.35")
    demo.page.unroute("**/v1/recognize*")
    demo.wait_for_answer()
    expect(demo.stale).to_be_hidden()
    assert colours(demo) == full
    assert demo.forgive() > 0


def test_both_models_missing_are_named(demo):
    """And what they say stands on a line of its own, with any brackets."""
    models = {"denoiser": "denoiser: gone (for good)", "classifier": "classifier: gone"}
    document = json.dumps({"ready": False, "models": models})
    demo.page.route("**/readyz", lambda route: route.fulfill(status=503, body=document))
    demo.page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    expect(demo.notice_text).to_have_text("The denoiser and the classifier are not available. Trying again…")
    expect(demo.notice_detail).to_have_text("denoiser: gone (for good); classifier: gone")
    demo.page.unroute("**/readyz")
    demo.wait_for_answer()
    assert demo.forgive() > 0


def test_a_gateway_told_to_go_on_without_the_denoiser_says_so(open_page):
    with running_stack(gateway={"ON_DENOISER_FAILURE": "classify"}) as stack:
        demo = open_page(stack.url)
        demo.wait_for_answer()

        stack.denoiser.kill()
        demo.again.click()
        expect(demo.status_detail).to_have_text("reads without the denoiser", timeout=BACK_MS)
        demo.wait_for_answer()
        assert not demo.pixels("denoised").any()
        assert demo.digits()[0] == demo.digits()[1]
        demo.sweep.click()
        expect(demo.chart).to_have_attribute("data-state", "shown", timeout=60_000)


def test_a_gateway_with_keys_asks_for_one(open_page, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(f"visitor {hash_key('open sesame')}\n")
    with running_stack(gateway={"API_KEYS_FILE": str(keys)}) as stack:
        demo = open_page(stack.url)
        expect(demo.notice_text).to_have_text("This gateway asks for an API key.")

        demo.key.fill("wrong")
        demo.key.press("Enter")
        expect(demo.notice_text).to_have_text("This gateway asks for an API key.")
        demo.key.fill("open sesame")
        demo.key.press("Enter")
        demo.wait_for_answer()
        expect(demo.notice).to_be_hidden()
        assert 'X-API-Key: $API_KEY"' in demo.curl.inner_text()
        assert demo.forgive() > 0


@pytest.mark.parametrize(
    ("status", "slug", "sentence"),
    [
        (503, "overloaded", "The service is busy. Trying again…"),
        (429, "rate-limited", "These were more requests than one visitor may send. Trying again…"),
        (504, "deadline-exceeded", "The models took too long to answer. Trying again…"),
        (502, "model-response", "The service could not answer. Trying again…"),
        (413, "payload-too-large", "This picture is too large."),
    ],
)
def test_a_refusal_is_a_sentence_and_is_tried_again_when_that_helps(demo, status, slug, sentence):
    refused = []

    def refuse(route: Route) -> None:
        if len(refused) < 2:
            refused.append(route.request.url)
            problem(route, status, slug, "why", {"Retry-After": "1"})
        else:
            route.continue_()

    demo.page.route("**/v1/recognize*", refuse)
    demo.again.click()
    expect(demo.notice_text).to_have_text(sentence)
    if "again" in sentence:
        demo.wait_for_answer()
        expect(demo.notice).to_be_hidden()
    demo.until(lambda: len(demo.failed_requests()) >= len(refused))
    assert demo.forgive() == len(refused)


def test_an_answer_that_is_not_json_is_a_sentence_too(demo):
    demo.page.route("**/v1/recognize*", lambda route: route.fulfill(status=502, body="<h1>Bad Gateway</h1>"))

    demo.again.click()
    expect(demo.notice_text).to_have_text("The service could not answer. Trying again…")
    demo.page.unroute("**/v1/recognize*")
    demo.wait_for_answer()
    assert demo.forgive() > 0


def test_late_answers_are_dropped(demo):
    """The answer to a picture that was replaced meanwhile never shows."""
    demo.set_level(0)
    held: list[Route] = []
    demo.page.route("**/v1/recognize*preprocess=none*", lambda route: held.append(route), times=2)
    demo.take_sample_without_waiting(1)
    demo.until(lambda: len(held) == 2)

    demo.take_sample_without_waiting(8)
    demo.page.wait_for_timeout(600)  # time for the page to see that a newer picture waits
    demo.page.evaluate(
        """() => {
          window.shown = [];
          const digit = document.getElementById("digit-with");
          new MutationObserver(() => window.shown.push(digit.textContent)).observe(digit, { childList: true });
        }"""
    )
    for route in held:
        route.continue_()
    demo.wait_for_answer()
    assert demo.page.evaluate("window.shown") == ["8"]


def test_one_round_of_requests_is_in_flight(open_page):
    """However fast the slider is dragged: both ways through the chain, and nothing else, at a time."""
    busy: set[int] = set()
    most = 0
    lock = threading.Lock()

    def watch(page: Page) -> None:
        def started(request):
            nonlocal most
            if "/v1/recognize" in request.url:
                with lock:
                    busy.add(id(request))
                    most = max(most, len(busy))

        def ended(request):
            with lock:
                busy.discard(id(request))

        page.on("request", started)
        page.on("requestfinished", ended)
        page.on("requestfailed", ended)

    demo = open_page(before=watch)
    demo.wait_for_answer()
    ends = time.monotonic() + 2
    while time.monotonic() < ends:
        demo.level.press("ArrowRight")
    demo.wait_for_answer()
    assert most == 2


def test_the_stack_is_asked_now_and_then_even_when_nobody_draws(open_page):
    asked = []

    def watch(page: Page) -> None:
        page.clock.install()
        page.on("request", lambda request: asked.append(request.url) if "readyz" in request.url else None)

    demo = open_page(before=watch)
    demo.wait_for_answer()
    for _ in range(3):
        before = len(asked)
        demo.page.clock.fast_forward(11_000)
        demo.until(lambda before=before: len(asked) > before)
    expect(demo.status_text).to_have_text("Ready")
