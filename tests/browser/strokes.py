"""Ten digits as a visitor's mouse draws them: not the page's own samples."""

from playwright.sync_api import Page

# x,y in percent of the pad; | lifts the pen.
DIGITS = (
    "55,20 40,22 30,38 28,58 36,76 50,82 64,74 70,56 68,36 60,24 53,20",
    "50,18 50,34 49,50 49,66 48,83",
    "30,32 36,22 50,18 63,25 65,38 56,53 42,68 28,82 45,81 60,81 74,80",
    "32,22 50,17 64,25 62,39 47,47 63,53 69,66 60,79 45,83 30,77",
    "36,20 31,38 27,55 45,56 60,55 75,53 | 62,22 61,42 60,62 58,84",
    "68,18 52,18 37,19 34,33 32,46 48,43 62,48 68,62 62,76 47,83 30,78",
    "60,17 46,28 36,44 31,62 37,78 51,83 64,75 65,62 54,53 41,57 34,67",
    "28,20 42,20 57,19 72,19 65,35 57,52 50,68 44,84",
    "62,26 50,18 38,23 37,34 50,47 63,60 64,74 51,83 37,76 36,63 50,48 62,36 62,27",
    "65,28 53,18 39,22 35,36 44,46 58,43 65,29 65,46 62,64 57,83",
)


def draw(page: Page, digit: int, size: float = 1.0) -> None:
    """Draw on the pad with the mouse; `size` shrinks the digit towards the pad's middle."""
    pad = page.locator("#canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box is not None
    for stroke in DIGITS[digit].split("|"):
        percents = [tuple(map(float, pair.split(","))) for pair in stroke.split()]
        places = [
            (
                box["x"] + box["width"] * (0.5 + size * (x / 100 - 0.5)),
                box["y"] + box["height"] * (0.5 + size * (y / 100 - 0.5)),
            )
            for x, y in percents
        ]
        page.mouse.move(*places[0])
        page.mouse.down()
        for place in places[1:]:
            page.mouse.move(*place, steps=3)
        page.mouse.up()
