// The answer side of the page: two verdicts, ten pairs of bars, the time of each stage.

import { percent, said } from "./percent.js";
import { blank, paint } from "./picture.js";

const STAGES = ["decode", "queue", "denoise", "classify"]; // in the order they happen

const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;
const element = (id) => document.getElementById(id);

/** What shows the answers; every number has its place on the page before it comes, so that nothing moves. */
export function createResults() {
  const rows = [...element("bars").rows];
  let announcing;

  /** `denoised` is null when the denoiser is down and the gateway reads on without it. */
  function show(cleaned, plain, denoised) {
    const [withDenoiser, without] = [cleaned.results[0], plain.results[0]];
    element("reading").dataset.state = "shown";
    if (denoised) paint(element("denoised"), denoised);
    else blank(element("denoised"));
    verdict("with", withDenoiser);
    verdict("without", without);
    rows.forEach(({ cells }, digit) => {
      setBar(cells[0], without.probabilities[digit]);
      setBar(cells[2], withDenoiser.probabilities[digit]);
    });
    showTimings(cleaned);
    clearTimeout(announcing); // one sentence once it is quiet, not one for every step of a slider
    announcing = setTimeout(() => {
      element("announcement").textContent =
        `With the denoiser: ${said(withDenoiser.digit, withDenoiser)}. Without: ${said(without.digit, without)}.`;
    }, 700);
  }

  function clear() {
    clearTimeout(announcing);
    element("reading").dataset.state = "empty";
    for (const side of ["with", "without"]) {
      delete element(`side-${side}`).dataset.accepted;
      element(`digit-${side}`).textContent = "–";
      element(`confidence-${side}`).textContent = "";
    }
    rows.forEach(({ cells }) => [cells[0], cells[2]].forEach((cell) => setBar(cell, null)));
    blank(element("denoised"));
    clearTimings();
  }

  return { show, clear };
}

function verdict(side, { digit, confidence, accepted, hint }) {
  element(`side-${side}`).dataset.accepted = String(accepted);
  element(`digit-${side}`).textContent = digit;
  const severalDigits = hint?.split(":")[0]; // "2 digits: use /v1/read"
  element(`confidence-${side}`).textContent = severalDigits ?? `${percent(confidence)} sure`;
}

function setBar(cell, share) {
  cell.style.setProperty("--share", share ?? 0);
  cell.querySelector(".value").textContent = share === null ? "" : percent(share);
}

function showTimings({ timings_ms: timings, roundTripMs }) {
  element("timing-text").textContent =
    `${milliseconds(timings.total)} in the service, ${milliseconds(roundTripMs)} round trip`;
  const bar = element("stages").style;
  let spent = 0;
  for (const stage of STAGES) {
    spent += timings[stage];
    bar.setProperty(`--${stage}-end`, spent / timings.total);
    setTime(stage, timings[stage]);
  }
  setTime("other", Math.max(0, timings.total - spent));
}

function clearTimings() {
  element("timing-text").textContent = "\u00a0"; // keeps the line's height
  for (const stage of STAGES) element("stages").style.removeProperty(`--${stage}-end`);
  for (const time of document.querySelectorAll("[data-time]")) time.textContent = "–";
}

function setTime(stage, ms) {
  document.querySelector(`[data-time="${stage}"]`).textContent = milliseconds(ms);
}
