"""The page as a test sees it: what a visitor can do and read."""

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from services.gateway.pages.demo import OPENING
from tests.browser.strokes import draw

FIRST_DIGIT = str(OPENING["digit"])  # what the page shows when it opens
NO_DIGIT = "–"
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 3, "is_mobile": True, "has_touch": True}


@dataclass
class DemoPage:
    """Wraps a Playwright page; `complaints` are its console errors, `hosts` whom it asked."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)

    def __getattr__(self, name: str) -> Locator:
        """`demo.curl` is the element with that id (underscores stand for hyphens)."""
        return self.page.locator("#" + name.replace("_", "-"))

    def wait_for_answer(self) -> None:
        """Until what is shown answers what was drawn and set last."""
        expect(self.reading).to_have_attribute("aria-busy", "false")
        expect(self.digit_with).not_to_have_text(NO_DIGIT)

    def set_level(self, level: float) -> None:
        self.set_level_without_waiting(level)
        self.wait_for_answer()

    def set_level_without_waiting(self, level: float) -> None:
        self.level.fill(str(level))

    def choose_kind(self, kind: str) -> None:
        self.page.locator(f"#kinds label:has([value={kind}])").click()
        self.wait_for_answer()

    def draw(self, digit: int, size: float = 1.0) -> None:
        """Start afresh, draw, and wait for the answer to the finished drawing."""
        self.clear.click()
        draw(self.page, digit, size)
        self.wait_for_answer()

    def take_sample(self, digit: int) -> None:
        self.take_sample_without_waiting(digit)
        self.wait_for_answer()

    def take_sample_without_waiting(self, digit: int) -> None:
        self.page.get_by_role("button", name=f"Sample digit {digit}").click()

    def until(self, true: Callable[[], bool], within_ms: int = 20_000) -> None:
        """Let the page run until something is true here."""
        for _ in range(within_ms // 20):
            if true():
                return
            self.page.wait_for_timeout(20)
        raise AssertionError(f"not within {within_ms} ms")

    def failed_requests(self) -> list[str]:
        """What Chromium has said so far of requests that failed: a moment after the page knows."""
        return [text for text in self.complaints if text.startswith("Failed to load resource")]

    def forgive(self) -> int:
        """Forget the requests that Chromium says failed, in a test that makes them fail; how many there were."""
        failed = self.failed_requests()
        self.complaints = [text for text in self.complaints if text not in failed]
        return len(failed)

    def digits(self) -> tuple[str, str]:
        """What was read with the denoiser, and without."""
        return self.digit_with.inner_text(), self.digit_without.inner_text()

    def pixels(self, name: str) -> np.ndarray:
        """The 28x28 bytes a canvas shows."""
        return self._bytes_of(self.page.locator(f"#{name}"))

    def thumbnail(self, kind: str) -> np.ndarray:
        """The small picture of a kind of noise."""
        return self._bytes_of(self.page.locator(f"#kinds label:has([value={kind}]) canvas"))

    def _bytes_of(self, canvas: Locator) -> np.ndarray:
        url = canvas.evaluate("canvas => canvas.toDataURL()")
        return np.asarray(Image.open(BytesIO(base64.b64decode(url.partition(",")[2]))).convert("L"))
