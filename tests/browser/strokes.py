"""Drawing on the pad as a visitor's mouse does."""

from playwright.sync_api import Page

from tests.support.drawings import STROKES

BOX = (100, 140)  # what the strokes are drawn in
SHARE = 0.7  # of the pad's height that a digit takes


def draw(page: Page, digit: int, size: float = 1.0) -> None:
    """One of the test drawings, in the pad's middle; `size` shrinks it."""
    draw_in(page, digit, middle=0.5, share=size * SHARE)


def draw_in(page: Page, digit: int, *, middle: float, share: float) -> None:
    """One of the test drawings: where its middle is, to the pad's width, and its height, to the pad's."""
    pad = page.locator("#canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    scale = share * box["height"] / BOX[1]
    left = box["x"] + middle * box["width"] - scale * BOX[0] / 2
    top = box["y"] + box["height"] / 2 - scale * BOX[1] / 2
    for stroke in STROKES[digit]:
        (first_x, first_y), *rest = stroke
        page.mouse.move(left + scale * first_x, top + scale * first_y)
        page.mouse.down()
        for x, y in rest[:: 3 if len(rest) > 12 else 1] + rest[-1:]:
            page.mouse.move(left + scale * x, top + scale * y)
        page.mouse.up()
