"""The page in Chromium, in the home that --home names; tests fail when it logs an error or asks another host."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.browser.demo_page import DemoPage
from tests.support.homes import Home

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NETWORK_CHANGED = (
    "ERR_NETWORK_CHANGED"  # the machine got or lost an interface (a container's, say): not the page's doing
)
expect.set_options(timeout=20_000)  # a condition is waited for as long as a busy machine needs
DESKTOP = {"width": 1280, "height": 800}

Opener = Callable[..., DemoPage]


@pytest.fixture(scope="session")
def stack(home: Home) -> Home:
    """The chain in the home that --home names."""
    return home


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    assert CHROMIUM, "no chromium on PATH: apt install chromium, or set CHROMIUM to an executable"
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def open_page(browser: Browser, stack: Home) -> Iterator[Opener]:
    """Open the page in a context of its own; keyword arguments are Playwright's for a context."""
    with ExitStack() as ends:

        def opener(url: str = stack.url, before: Callable[[Page], None] | None = None, **context: Any) -> DemoPage:
            page = ends.enter_context(browser.new_context(**{"viewport": DESKTOP, **context})).new_page()
            demo = DemoPage(page)
            page.on(
                "console", lambda message: demo.complaints.append(message.text) if message.type == "error" else None
            )
            page.on("pageerror", lambda error: demo.complaints.append(str(error)))
            page.on("request", lambda request: demo.hosts.add(urlsplit(request.url).netloc))
            if before is not None:
                before(page)
            page.goto(url)
            if any(NETWORK_CHANGED in text for text in demo.complaints):
                page.goto(url)
            ends.callback(check_manners, demo, url)
            return demo

        yield opener


@pytest.fixture
def demo(open_page: Opener) -> DemoPage:
    """The page as it is after its first answer."""
    page = open_page()
    page.wait_for_answer()
    return page


def check_manners(demo: DemoPage, url: str) -> None:
    assert [text for text in demo.complaints if NETWORK_CHANGED not in text] == []
    assert demo.hosts <= {urlsplit(url).netloc, ""}  # "" is a data: URL
