"""The report, opened in Chromium from a file: nothing is fetched, nothing is cut off, both themes are legible."""

import pytest

from services.evaluator.measure import gallery
from services.evaluator.measure.results import Cell, Confusion, Equality, Latency, Quality, Reliability, Results
from services.evaluator.report import html as report
from tests.support.tiny_models import prototypes

MS = {"mean": 2.0, "p50": 1.5, "p90": 2.0, "p95": 2.5, "p99": 4.0, "p99.9": 9.0, "max": 12.0}
STAGES = {"decode": 0.1, "queue": 0.0, "denoise": 0.5, "classify": 0.3, "total": 1.0}
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
    assert page.locator("figure svg").count() == 6
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth === 28)")
    assert page.evaluate("[...document.querySelectorAll('nav a')].every(a => document.querySelector(a.hash))")
    ink, surface = page.evaluate(
        "[getComputedStyle(document.querySelector('svg text')).fill,"
        " getComputedStyle(document.querySelector('section')).backgroundColor]"
    )
    brightness = [sum(int(part) for part in colour[4:-1].split(",")[:3]) / 3 for colour in (ink, surface)]
    assert abs(brightness[0] - brightness[1]) > 80
    context.close()
