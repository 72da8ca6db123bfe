"""One click: every noise level, with and without the denoiser."""

import re

import numpy as np
from playwright.sync_api import expect

from services.core.noise import NOISES
from tests.browser.demo_page import FIRST_DIGIT

SAMPLES = 300


def run_sweep(demo) -> list[tuple[float, float, float]]:
    """Rows of level, share right with the denoiser, share right without."""
    demo.sweep.click()
    expect(demo.chart).to_have_attribute("data-state", "shown", timeout=60_000)
    rows = demo.page.locator("#sweep-rows tr").evaluate_all(
        "rows => rows.map((row) => [...row.cells].map((cell) => parseFloat(cell.textContent)))"
    )
    return [tuple(row) for row in rows]


def test_a_sweep_shows_what_the_denoiser_is_worth(demo):
    rows = run_sweep(demo)

    levels, with_denoiser, without = (np.array(column) for column in zip(*rows, strict=True))
    assert np.allclose(levels, np.linspace(0, 1, 21))
    assert with_denoiser[0] == without[0] == 100
    assert with_denoiser.mean() > without.mean()


def test_the_sentence_says_where_reading_holds(demo):
    rows = run_sweep(demo)

    sentence = demo.sweep_text.inner_text()
    assert sentence.startswith(f"Stripes noise, 32 samples a level. Read as {FIRST_DIGIT} at least nine times in ten:")
    holds = [next((i for i, row in enumerate(rows) if row[arm] < 90), None) for arm in (1, 2)]
    said = [f"up to level {rows[i - 1][0]:.2f}" if i else "at every level" for i in holds]
    assert f"{said[0]} with the denoiser, {said[1]} without." in sentence


def test_the_curves_are_the_numbers(demo):
    rows = run_sweep(demo)

    for arm, name in ((1, "with"), (2, "without")):
        points = demo.page.locator(f"#curves polyline.{name}").get_attribute("points")
        drawn = np.array([pair.split(",") for pair in points.split()], float)
        assert np.allclose(drawn[:, 0], [100 * row[0] for row in rows])
        assert np.allclose(drawn[:, 1], [100 - row[arm] for row in rows], atol=0.1)
    assert demo.curves.get_attribute("aria-label") == demo.sweep_text.inner_text()


def test_before_the_first_sweep_there_is_no_empty_chart(demo):
    expect(demo.chart).to_be_hidden()

    run_sweep(demo)
    expect(demo.chart).to_be_visible()


def test_pictures_under_the_curves_go_from_clear_to_noisy(demo):
    demo.choose_kind("gaussian")
    run_sweep(demo)

    spread = demo.page.locator("#strip li canvas:first-child").evaluate_all(
        """canvases => canvases.map((canvas) => {
          const data = canvas.getContext("2d").getImageData(0, 0, 28, 28).data;
          return data.filter((_, index) => index % 4 === 0).reduce((sum, value) => sum + value, 0) / 784;
        })"""
    )
    assert len(spread) == 11
    assert spread == sorted(spread)


def test_a_sweep_uses_the_kind_of_noise_that_is_chosen(demo):
    demo.choose_kind("occlusion")

    run_sweep(demo)
    assert demo.sweep_text.inner_text().startswith("Occlusion noise")


def test_a_second_sweep_may_follow(demo):
    run_sweep(demo)
    demo.take_sample(8)

    demo.sweep.click()
    expect(demo.sweep_text).to_have_text(re.compile("Read as 8"), timeout=60_000)
    expect(demo.sweep).to_be_enabled()


def test_a_sweep_waits_for_a_slow_machine(demo):
    """It asks for more time than a single picture gets."""
    with demo.page.expect_request(lambda request: "request-timeout-ms" in request.headers) as asked:
        demo.sweep.click()

    assert int(asked.value.headers["request-timeout-ms"]) >= 10_000
    expect(demo.chart).to_have_attribute("data-state", "shown", timeout=60_000)


def test_a_sweep_that_fails_says_so_and_may_be_started_again(demo):
    demo.page.route("**/v1/recognize*", lambda route: route.abort("connectionrefused"))

    demo.sweep.click()
    expect(demo.sweep_text).to_have_text("The sweep stopped. The gateway does not answer.")
    expect(demo.chart).to_be_hidden()
    demo.page.unroute("**/v1/recognize*")
    run_sweep(demo)
    assert demo.forgive() > 0


def test_noise_in_the_page_is_the_noise_of_training(demo, rng):
    """Same mean and spread, pixel by pixel, as services/core/noise.py over many samples."""
    clean = demo.pixels("clean")
    batch = np.repeat((clean / 255).astype(np.float32)[None, :, :, None], SAMPLES, axis=0)
    module = demo.page.locator("link[rel=modulepreload][href$='noise.js']").evaluate("link => link.href")

    for kind, make in NOISES.items():
        if kind in ("scribble", "spatter"):
            continue  # OpenCV draws these with its own lines and discs: alike, not the same
        # The page smears along a line with linear interpolation, Python in the frequency domain: edges differ a little.
        systematic = 0.08 if kind == "motion_blur" else 0.005
        for level in (0.2, 0.5, 0.9):
            theirs = np.array(
                demo.page.evaluate(
                    """async ([module, clean, kind, level, samples]) => {
                      const { addNoise } = await import(module);
                      const sums = [new Array(784).fill(0), new Array(784).fill(0)];
                      for (let seed = 0; seed < samples; seed += 1) {
                        addNoise(Uint8Array.from(clean), kind, level, seed).forEach((value, index) => {
                          sums[0][index] += value / 255 / samples;
                          sums[1][index] += (value / 255) ** 2 / samples;
                        });
                      }
                      return sums;
                    }""",
                    [module, clean.ravel().tolist(), kind, level, SAMPLES],
                )
            )
            ours = make(batch, level, rng).reshape(SAMPLES, 784)
            mean, square = theirs
            spread = np.sqrt(np.maximum(square - mean**2, 0))
            error = 5 * np.sqrt((ours.var(axis=0) + spread**2) / SAMPLES) + systematic
            assert (abs(mean - ours.mean(axis=0)) < error).mean() > 0.995, (kind, level)
            assert abs(spread.mean() - ours.std(axis=0).mean()) < 0.012 + systematic / 4, (kind, level)
