"""The training job, after training: measure what a recipe made, draw it, publish it."""

from __future__ import annotations

import contextlib
import json
import logging
from pathlib import Path
from typing import Any

from training.config import TrainingConfig
from training.data.dataset import Dataset
from training.export.versions import Exportable, check_version, new_version, onnx_predictor, to_onnx, write_version
from training.measure import plots
from training.measure.measurements import HEADLINE, Measurements, Predict, measure, noisy_test_images
from training.recipes import Outcome
from training.release import gate
from training.release.card import make_card
from training.release.signing import Signer
from training.runs import writing

log = logging.getLogger(__name__)

SHOWN_PICTURES = 12
SHOWN_MISTAKES = 16


def report(config: TrainingConfig, data: Dataset, outcome: Outcome, workdir: Path) -> Measurements | None:
    """Measure what the recipe made on the test images, in the serving engine, and write results.json and the plots."""
    with writing(workdir):
        predictors: dict[str, Predict] = {}
        for exportable in exportables(outcome):
            path = workdir / f"{exportable.name}.onnx"
            path.write_bytes(to_onnx(exportable))
            predictors |= {output: onnx_predictor(path, output=output) for output in exportable.outputs}
        denoise, classify, judge = (predictors.get(output) for output in ("denoised", "probabilities", "is_digit"))

        plots.curves(outcome.history, workdir / "curves.webp")
        if denoise:
            clean = data.test.images[:SHOWN_PICTURES]
            noisy = noisy_test_images(data.test.images, "gaussian", HEADLINE)[:SHOWN_PICTURES]
            plots.picture_rows({"noisy": noisy, "denoised": denoise(noisy), "clean": clean}, workdir / "pictures.webp")
        measured = measure(denoise, classify, data.test, judge=judge) if classify else None
        if measured and classify:
            _draw(measured, denoise, classify, data, workdir)
        results = {
            "recipe": config.recipe,
            "command": config.command(),
            "seed": config.seed,
            "epochs": len(outcome.history["loss"]),
            "minutes": round(minutes(outcome), 2),
            "parameters": {each.name: int(each.model.count_params()) for each in exportables(outcome)},
            "figures": dict(outcome.figures),
            "measured": measured.as_dict() if measured else None,
        }
        (workdir / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    return measured


def publish(
    config: TrainingConfig,
    data: Dataset,
    outcome: Outcome,
    measured: Measurements,
    models_dir: Path,
    *,
    force: bool = False,
    note: str | None = None,
    signer: Signer | None = None,
) -> dict[str, int]:
    """Pass the release gate, then write both models as the next versions; answers their numbers."""
    held_back = data.extra.held_back if data.extra else None
    if data.extra and not held_back:
        log.warning("%s is too small to hold pictures back: the gate compares MNIST alone", data.extra.name)
    current = gate.measure_current(models_dir, data.validation, held_back)
    if current:
        new = gate.measure_new(exportables(outcome), data.validation, held_back)
        if not force:
            gate.check(new, current)  # tells the comparison itself
        log.info("%s", gate.comparison(new, current))
    with contextlib.ExitStack() as both:  # neither appears unless both are good
        staged = {each.name: both.enter_context(new_version(models_dir / each.name)) for each in exportables(outcome)}
        chain = {name: number for name, (_, number) in staged.items()}
        for exportable in exportables(outcome):
            folder, number = staged[exportable.name]
            card = make_card(
                exportable,
                number=number,
                chain=chain,
                config=config,
                data=data,
                epochs=len(outcome.history["loss"]),
                minutes=minutes(outcome),
                measured=measured,
                note=note,
            )
            write_version(exportable, folder, card)
            check_version(exportable, folder, noisy_test_images(data.test.images[:512], "gaussian", HEADLINE))
            if signer:
                signer.sign(folder)
    return chain


def exportables(outcome: Outcome) -> list[Exportable]:
    """What an outcome holds, under its serving names."""
    found = []
    if outcome.denoiser is not None:
        found.append(Exportable("denoiser", ("denoised",), outcome.denoiser))
    if outcome.classifier is not None:
        several = len(outcome.classifier.outputs) > 1  # the tutorials' have probabilities alone
        outputs = ("probabilities", "is_digit") if several else ("probabilities",)
        found.append(Exportable("classifier", outputs, outcome.classifier))
    return found


def minutes(outcome: Outcome) -> float:
    """Time spent in epochs, over all the sessions a run took."""
    return sum(outcome.history["seconds"]) / 60


def _draw(measured: Measurements, denoise: Any, classify: Any, data: Dataset, workdir: Path) -> None:
    clean, labels = data.test.images, data.test.labels
    noisy = noisy_test_images(clean, "gaussian", HEADLINE)
    denoised = denoise(noisy) if denoise else noisy
    scores = classify(denoised)
    clean_scores = classify(denoise(clean) if denoise else clean)

    plots.confusion(measured.confusion, workdir / "confusion.webp")
    plots.calibration(labels, {"clean": clean_scores, "Gaussian 0.5": scores}, workdir / "calibration.webp")
    alone = measured.alone if denoise else None
    plots.accuracy_under_noise(measured.chain, alone, (measured.clean, measured.clean_alone), workdir / "noise.webp")
    wrong = scores.argmax(axis=1) != labels
    surest = sorted(wrong.nonzero()[0], key=lambda index: -scores[index].max())[:SHOWN_MISTAKES]
    captions = [f"{labels[index]} read as {scores[index].argmax()}\n{scores[index].max():.0%} sure" for index in surest]
    stages = (clean, noisy, denoised) if denoise else (clean, noisy)
    if surest:
        plots.mistakes([pictures[surest] for pictures in stages], captions, workdir / "mistakes.webp")
