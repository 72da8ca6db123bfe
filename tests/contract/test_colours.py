"""Every page, in both themes, stays legible: the contrast that WCAG 2.2 asks for, from the colours in its style sheet.

Text 4.5 to 1; the edges of controls and the parts of a figure 3 to 1. axe measures text where it stands, not edges, SVG
or text that only some states show.
"""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"--([\w-]+):\s*(#[0-9a-f]{3}(?:[0-9a-f]{3})?)\b")
DARK = re.compile(r"prefers-color-scheme:\s*dark")
ROOT_RULE = re.compile(r":root\s*{([^{}]*)}")
TEXT, PART = 4.5, 3.0
STAGES = ("decode", "queue", "denoise", "classify", "rest")
# style sheet -> least ratio -> (colour, what it lies on)
PAGES = {
    "services/gateway/pages/static/page.css": {
        TEXT: [
            *((text, ground) for text in ("ink", "muted", "with") for ground in ("page", "card", "hover")),
            *((text, "card") for text in ("without", "bad")),
            ("ink", "with-soft"),
            ("ink", "line"),  # the link to the other page
        ],
        PART: [*((part, "card") for part in ("edge", "with", "without", "decode", "classify")), ("good", "page")],
    },
    "services/evaluator/corrections/review.css": {
        TEXT: [
            ("ink", "page"), ("muted", "page"),
            *((text, ground) for text in ("ink", "accent") for ground in ("surface", "hover")),
            ("muted", "surface"), ("bad", "surface"),
        ],
        PART: [("edge", "surface"), ("accent", "surface")],
    },
    "services/evaluator/report/templates/colours.css": {
        TEXT: [
            *((text, ground) for text in ("ink", "muted", "accent") for ground in ("page", "surface")),
            *((text, "surface") for text in ("good", "bad", "always")),
            *(("on-stage", stage) for stage in STAGES),
        ],
        PART: [*((line, "surface") for line in ("never", "auto")), *((stage, "surface") for stage in STAGES)],
    },
    "deploy/docs.html.jinja": {
        TEXT: [
            *((text, ground) for text in ("ink", "muted", "post") for ground in ("page", "card", "code")),
            *((text, "card") for text in ("get", "bad")),  # also the other way round: the label of a method
        ],
    },
}  # fmt: skip


def luminance(colour: str) -> float:
    digits = "".join(2 * digit for digit in colour[1:]) if len(colour) == 4 else colour[1:]
    shares = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def colours(page: str) -> dict[str, dict[str, str]]:
    """The variables of a style sheet in each theme; the dark one changes some of the light one's."""
    text = (ROOT / page).read_text()
    (dark_at,) = (found.start() for found in DARK.finditer(text))
    rules = [rule for rule in (ROOT_RULE.search(text), ROOT_RULE.search(text, dark_at)) if rule]
    light, dark = (dict(VARIABLE.findall(rule.group(1))) for rule in rules)
    assert light != dark
    return {"light": light, "dark": light | dark}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_colours_stand_out_from_what_they_lie_on(page, scheme):
    named = colours(page)[scheme]
    faint = {
        f"{one} on {ground}": round(contrast(named[one], named[ground]), 2)
        for least, pairs in PAGES[page].items()
        for one, ground in pairs
        if contrast(named[one], named[ground]) < least
    }

    assert faint == {}


def test_the_ratio_is_wcags():
    assert contrast("#000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#fff") == pytest.approx(4.48, abs=0.005)
