"""The report, opened in Chromium from a file: nothing is fetched, nothing is cut off, both themes are legible."""

import dataclasses
import re

import pytest

from services.evaluator.measure import gallery
from services.evaluator.measure.results import Cell, Confusion, Equality, Latency, Quality, Reliability, Results
from services.evaluator.report import html as report
from tests.browser.test_access import violations
from tests.support.tiny_models import prototypes

MS = {"mean": 2.0, "p50": 1.5, "p90": 2.0, "p95": 2.5, "p99": 4.0, "p99.9": 9.0, "max": 12.0}
STAGES = {"decode": 0.1, "queue": 0.0, "denoise": 0.5, "classify": 0.3, "total": 1.0}
A4 = 718  # pixels between the margins
ARMS = ("never", "always", "auto")


def cell(noise, level, arm):
    return Cell(noise, level, arm, 900, 1000, 0.88, 0.92, [0.9] * 10, 0.02, 0.5)


def made_up_results():
    where = [("none", 0.0), *((noise, level) for noise in ("gaussian", "stripes") for level in (0.5, 1.0))]
    counts = [[90 if row == column else 1 for column in range(10)] for row in range(10)]
    return Results(
        run={"seed": 1, "cpu": "CPU", "cores": 2, "command": "made up for a test " * 8, "date": "2026-01-01",
             "url": "here", "pair": "denoiser 1, classifier 1", "batch": 1, "in_flight": 1, "retries": 0},
        dataset={"name": "made up", "images": 1000, "sha256": "0" * 64},
        models={"denoiser": 1, "classifier": 1},
        cells=[cell(noise, level, arm) for noise, level in where for arm in ARMS],
        confusions=[Confusion("gaussian", 0.5, "always", counts)],
        reliabilities=[Reliability("gaussian", 0.5, "always", 0.03, [(0.5, 0.6, 10), (0.9, 0.8, 90)])],
        qualities=[Quality("gaussian", 0.5, 100, 9.5, 18.0, 0.3, 0.8)],
        latencies=[Latency("one PNG, one client", 1, 1, 1000, 0, 2.0, MS, STAGES, 300.0, 200.0, [(1.0, 2.0, 998)])],
        equality=Equality(4000, 0, 1e-7, 1e-5, True),
        complete=True,
    )  # fmt: skip


def exhibit(digit):
    picture = gallery.data_uri(prototypes()[digit])
    return gallery.Exhibit("gaussian", 0.5, digit, 3, 0.5, digit, 0.9, picture, picture, picture)


def opened(browser, tmp_path, results, width=1280, pictures=None, scheme="light"):
    path = tmp_path / "report.html"
    path.write_text(report.html(results, pictures or {}))
    page = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()
    page.goto(path.as_uri())
    return page


BOXES = """([texts, lines]) => [texts, lines].map((selector) =>
  [...document.querySelectorAll(selector)].map((node) => {
    const { left, right, top, bottom } = node.getBoundingClientRect();
    return { text: node.textContent.trim(), left, right, top, bottom };
  }))"""


@pytest.mark.parametrize(("width", "shown"), [(1280, ".wide"), (390, ".narrow")])
def test_no_percentile_is_struck_through_by_its_line(browser, tmp_path, width, shown):
    results = made_up_results()
    slow = dataclasses.replace(results.latencies[0], histogram=[(1.0, 2.0, 900), (2.0, 4.0, 98)])
    page = opened(browser, tmp_path, dataclasses.replace(results, latencies=[slow]), width)

    section = f"#latency figure:first-of-type {shown} svg"
    texts, lines = page.evaluate(BOXES, [f"{section} text", f"{section} [id*=LineCollection] path"])
    labels = [text for text in texts if text["text"].endswith(" ms")]
    assert [label["text"].split()[0] for label in labels] == ["p50", "p90", "p99"]
    assert len(lines) == 3
    for label in labels:
        through = [line for line in lines if label["left"] - 1 < line["left"] < label["right"] + 1]
        assert all(line["top"] > label["bottom"] for line in through), label  # a lower line ends below the text
    page.context.close()


def test_what_60_requests_cannot_tell_is_not_told(browser, tmp_path):
    results = made_up_results()
    few = dataclasses.replace(results.latencies[0], requests=60)
    page = opened(browser, tmp_path, dataclasses.replace(results, latencies=[few]))

    row = page.locator("#latency table tbody tr").first.locator("td").all_inner_texts()
    assert row[1:8] == ["2.00", "1.50", "2.00", "2.50", "–", "–", "12.00"]  # mean, p50, p90, p95, p99, p99.9, max
    assert "p99" not in page.locator(".cards").inner_text()
    page.context.close()


def test_the_first_card_tells_what_the_chain_reads(browser, tmp_path):
    results = made_up_results()
    chain = dataclasses.replace(results.cell("none", 0.0, "always"), correct=987)
    cells = [chain if (each.noise, each.arm) == ("none", "always") else each for each in results.cells]
    page = opened(browser, tmp_path, dataclasses.replace(results, cells=cells))

    card = page.locator(".card").first
    assert card.locator("b").inner_text() == "98.70\u00a0%"
    assert "classify only 90.00\u00a0%" in card.inner_text()
    page.context.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_no_percent_sign_stands_alone_and_no_table_is_out_of_reach(browser, tmp_path, width):
    page = opened(browser, tmp_path, made_up_results(), width)

    assert not re.search(r"\d %", "".join(page.locator(".card, td, .note").all_inner_texts()))
    page.locator("details").evaluate_all("all => all.forEach((one) => { one.open = true; })")
    cut_off = page.locator("table").evaluate_all(
        """tables => tables.filter((table) => {
          const frame = table.closest(".scroll");
          const room = frame ? Infinity : document.documentElement.clientWidth;
          return table.getBoundingClientRect().right > room;
        }).length"""
    )
    assert cut_off == 0
    scrolled = page.locator("#accuracy .scroll").evaluate(
        """frame => {
          frame.scrollLeft = 1e6;
          const last = frame.querySelector("tr td:last-child").getBoundingClientRect();
          const first = frame.querySelector("tbody td").getBoundingClientRect();
          const box = frame.getBoundingClientRect();
          return last.right <= box.right + 1 && first.left >= box.left - 1;
        }"""
    )
    assert scrolled  # the last column is reached, and the first one has stayed
    page.context.close()


def test_a_gallery_of_fewer_pictures_keeps_its_rows(browser, tmp_path):
    page = opened(browser, tmp_path, made_up_results(), 1280, {"gaussian@0.5": [exhibit(digit) for digit in range(5)]})

    titles = page.locator(".strip span").evaluate_all(
        "all => all.map((one) => [one.textContent, one.getBoundingClientRect().left])"
    )
    assert [title for title, _ in titles] == ["noisy", "read as", "denoised", "read as"]
    assert len({left for _, left in titles}) == 1
    page.context.close()


def test_axe_finds_nothing_in_the_report(browser, tmp_path):
    page = opened(browser, tmp_path, made_up_results(), 390, {"gaussian@0.5": [exhibit(digit) for digit in range(8)]})

    assert violations(page) == ""
    page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_report_stands_alone_and_fits(browser, tmp_path, scheme, width):
    pictures = {"gaussian@0.5": [exhibit(digit) for digit in range(8)], "worst": [exhibit(9)]}
    path = tmp_path / "report.html"
    path.write_text(report.html(made_up_results(), pictures))
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    page = context.new_page()
    asked, complaints = [], []
    page.on("request", lambda request: asked.append(request.url.split(":", 1)[0]))
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(path.as_uri())

    assert set(asked) <= {"file", "data"}
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("figure svg:visible").count() == 6
    cut_off = """[...document.querySelectorAll("figure")].filter((figure) => {
      const frame = figure.getBoundingClientRect();
      const outside = ({ left, right }) => right > frame.right + 1 || left < frame.left - 1;
      return figure.scrollWidth > figure.clientWidth ||
        [...figure.querySelectorAll("svg, text")].some((part) => {
          const box = part.getBoundingClientRect();
          return box.width && outside(box);
        });
    }).map((figure) => figure.getAttribute("aria-label"))"""
    assert page.evaluate(cut_off) == []
    letters_px = """Math.min(...[...document.querySelectorAll("figure svg text")].map((text) =>
      text.getBoundingClientRect().height).filter(Boolean))"""
    assert page.evaluate(letters_px) >= 9
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 28)")
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    ink, surface = page.evaluate(
        "[getComputedStyle(document.querySelector('svg text')).fill,"
        " getComputedStyle(document.querySelector('section')).backgroundColor]"
    )
    brightness = [sum(int(part) for part in colour[4:-1].split(",")[:3]) / 3 for colour in (ink, surface)]
    assert abs(brightness[0] - brightness[1]) > 80
    context.close()


def test_on_paper_no_table_is_cut_off_and_colours_are_there(browser, tmp_path):
    page = opened(browser, tmp_path, made_up_results(), width=A4)
    page.emulate_media(media="print")

    tables = page.locator(".scroll:visible").evaluate_all("all => all.map((one) => [one.scrollWidth, one.clientWidth])")
    assert tables
    assert [table for table in tables if table[0] > table[1]] == []
    for selector in (".key i", ".matrix td"):
        adjust = page.locator(selector).first.evaluate("one => getComputedStyle(one).printColorAdjust")
        assert adjust == "exact"


def test_in_high_contrast_the_key_to_the_figures_has_its_colours(browser, tmp_path):
    page = opened(browser, tmp_path, made_up_results())
    page.emulate_media(forced_colors="active")

    colours = page.locator(".key i").evaluate_all("all => all.map((one) => getComputedStyle(one).backgroundColor)")
    assert len(set(colours)) == len(ARMS)
