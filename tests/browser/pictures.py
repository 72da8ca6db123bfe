"""Take the README's screenshots of the page, from a stack of its own: `make pictures`."""

import argparse
import sys
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from services.gateway.pages.demo import STATIC
from tests.browser.conftest import CHROMIUM, FLAGS
from tests.browser.demo_page import FIRST_DIGIT, DemoPage
from tests.support.stack import ROOT, running_stack

DESKTOP = {"viewport": {"width": 1280, "height": 800}, "device_scale_factor": 1.5}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "is_mobile": True, "has_touch": True}
FILM = {"viewport": {"width": 1280, "height": 800}}
FILM_LEVELS = [step / 20 for step in range(21)]
FILM_SIZE = (960, 600)
PREVIEW = {"viewport": {"width": 1200, "height": 630}}  # what link previews ask for
PREVIEW_COLOURS = 96
FRAME_MS = 220
HOLD_MS = 1500


def main(argv: list[str] | None = None) -> int:
    """Write WebP files; print each name and size."""
    parser = argparse.ArgumentParser(prog="python -m tests.browser.pictures", description=__doc__)
    parser.add_argument("--to", type=Path, default=ROOT / "docs/img", help="folder (default: docs/img)")
    parser.add_argument("--preview", type=Path, default=STATIC / "preview.png", help="the link preview's picture")
    parser.add_argument("--url", help="a running gateway (default: a local stack, started for this)")
    arguments = parser.parse_args(argv)
    arguments.to.mkdir(parents=True, exist_ok=True)
    if arguments.url:
        take_all(arguments.url, arguments.to, arguments.preview)
    else:
        with running_stack() as stack:
            take_all(stack.url, arguments.to, arguments.preview)
    return 0


def take_all(url: str, folder: Path, preview: Path) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        for scheme in ("light", "dark"):
            demo = opened(browser, url, color_scheme=scheme, **DESKTOP)
            save([demo.page.screenshot()], folder / f"page-{scheme}.webp")
            demo.sweep.click()
            expect(demo.chart).to_have_attribute("data-state", "shown", timeout=60_000)
            demo.page.mouse.move(0, 0)
            save([demo.page.locator("section.sweep").screenshot()], folder / f"sweep-{scheme}.webp")
        phone = opened(browser, url, color_scheme="light", **PHONE)
        save([phone.page.screenshot()], folder / "page-phone.webp")
        card = opened(browser, url, color_scheme="light", **PREVIEW)
        save_preview(card.page.screenshot(), preview)
        film = opened(browser, url, color_scheme="light", **FILM)
        save(list(frames(film)), folder / "page-noise.webp", FILM_SIZE)
        browser.close()


def opened(browser: Browser, url: str, **context: object) -> DemoPage:
    demo = DemoPage(browser.new_context(**context, reduced_motion="reduce").new_page())
    demo.page.goto(url)
    demo.wait_for_answer()
    for _ in range(3):  # the first answers after a start are slower than any other
        demo.page.wait_for_timeout(400)
        demo.take_sample(int(FIRST_DIGIT))
    demo.page.mouse.move(0, 0)
    return demo


def frames(demo: DemoPage) -> list[bytes]:
    """The noise level going up."""
    shots = []
    for level in FILM_LEVELS:
        demo.set_level(level)
        shots.append(demo.page.screenshot())
    return shots


def save_preview(shot: bytes, path: Path) -> None:
    """A PNG of few colours: every program that shows previews reads PNG."""
    image = Image.open(BytesIO(shot)).convert("RGB").quantize(PREVIEW_COLOURS, dither=Image.Dither.NONE)
    image.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def save(shots: list[bytes], path: Path, size: tuple[int, int] | None = None) -> None:
    """One picture, or a film when there are several; there and back, so that it does not jump."""
    images = [Image.open(BytesIO(shot)).convert("RGB") for shot in shots]
    if size:
        images = [image.resize(size, Image.Resampling.LANCZOS) for image in images]
    if len(images) == 1:
        images[0].save(path, quality=82, method=6)
    else:
        turned = [*images, *images[-2:0:-1]]
        pauses = [HOLD_MS if index in (0, len(images) - 1) else FRAME_MS for index in range(len(turned))]
        turned[0].save(path, save_all=True, append_images=turned[1:], duration=pauses, loop=0, quality=60, method=4)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    sys.exit(main())
