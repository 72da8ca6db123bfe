"""The review page in a browser: labels by key, undo, no digit, an empty list, a phone."""

import threading

import numpy as np
import pytest

from services.evaluator.corrections.server import review_server
from services.runtime.captures import NO_DIGIT, CaptureStore
from tests.browser.test_access import violations
from tests.support.captured import capture


@pytest.fixture
def store(tmp_path, rng):
    store = CaptureStore(tmp_path)
    pictures = rng.integers(0, 256, (3, 28, 28)).astype(np.uint8)
    store.add(
        [capture(f"r{at}", confidence=0.2 * (at + 1), pixels=picture) for at, picture in enumerate(pictures)],
        now_s=1000,
    )
    yield store
    store.close()


@pytest.fixture
def address(store):
    server = review_server(store, 0)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


def opened(browser, address, width=390, scheme="light"):
    page = browser.new_page(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.goto(address)
    page.wait_for_selector("#picture:not([hidden])")
    return page


@pytest.fixture
def review(browser, address):
    page = opened(browser, address)
    yield page
    page.close()


def test_one_key_labels_the_picture_and_shows_the_next(review, store):
    review.keyboard.press("7")
    review.get_by_text("1 of 3 pictures labelled").wait_for()
    review.get_by_text("confidence 40 %").wait_for()

    assert [(each.request_id, each.label) for each in store.labelled()] == [("r0", 7)]


def test_a_key_held_down_labels_one_picture(review, store):
    for _ in range(3):
        review.keyboard.down("7")
    review.keyboard.up("7")
    review.get_by_text("1 of 3 pictures labelled").wait_for()
    review.get_by_text("confidence 40 %").wait_for()

    assert [(each.request_id, each.label) for each in store.labelled()] == [("r0", 7)]


def test_undo_brings_the_picture_back_and_its_label_is_replaced(review, store):
    review.keyboard.press("7")
    review.get_by_text("1 of 3 pictures labelled").wait_for()
    review.get_by_role("button", name="Undo").click()
    review.get_by_text("confidence 20 %").wait_for()
    review.get_by_role("button", name="No digit").click()
    review.get_by_text("confidence 40 %").wait_for()
    review.wait_for_function("document.querySelector('#undo').disabled === false")

    assert [(each.request_id, each.label) for each in store.labelled()] == [("r0", NO_DIGIT)]


def test_it_says_when_nothing_is_left(review, store):
    for count, digit in enumerate("123", 1):
        review.keyboard.press(digit)
        review.get_by_text(f"{count} of 3 pictures labelled").wait_for()

    review.get_by_text("Nothing is left to label. Reload").wait_for()
    assert review.inner_text("#question") == "Done"
    assert review.locator("#queue").is_hidden()


def test_what_was_skipped_is_not_called_labelled(review):
    review.keyboard.press("s")
    review.keyboard.press("s")
    review.get_by_text("confidence 60 %").wait_for()
    review.keyboard.press("3")

    review.get_by_text("Nothing is left to label but the 2 pictures that you skipped").wait_for()
    review.reload()
    review.get_by_text("confidence 20 %").wait_for()


def test_a_store_that_fails_is_said_and_the_picture_stays(review, store):
    store.erase("r0")
    review.keyboard.press("5")
    review.get_by_text("Not saved: this picture is not kept any more").wait_for()

    assert "20 %" in review.inner_text("#answered")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 1280])
def test_it_fits_and_is_accessible_in_every_state(browser, address, store, width, scheme):
    page = opened(browser, address, width, scheme)

    def check():
        assert violations(page) == ""
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        sizes = page.locator("button:visible, a:visible").evaluate_all("all => all.map((one) => one.offsetHeight)")
        assert min(sizes) >= 44  # a finger's

    check()
    store.erase("r0")
    page.keyboard.press("5")
    page.get_by_text("Not saved: this picture is not kept any more").wait_for()
    check()
    for _ in range(3):
        page.keyboard.press("s")
    page.get_by_text("Nothing is left to label").wait_for()
    check()
    page.close()
