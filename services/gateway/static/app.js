// The page, wired together: a drawing becomes 28x28 pixels, gets noise, and is read with and without the denoiser.

import { apiKey, ChainError, recognize, recognizeUrl } from "./chain.js";
import { curlCommand } from "./curl.js";
import { latestOnly } from "./latest.js";
import { addNoise, NOISES } from "./noise.js";
import { createPad, pathOf } from "./pad.js";
import { blank, bytesOf, paint } from "./picture.js";
import { createResults } from "./results.js";
import { SAMPLES } from "./samples.js";
import { watchStatus } from "./status.js";
import { measure, prepareStrip, showSweep } from "./sweep.js";

const FIRST_SAMPLE = 5;
const RAW = "application/octet-stream";
const READ_RAW = { preprocess: "none", include: "probabilities,denoised,input" };
const COPIED_MS = 1600;

const element = (id) => document.getElementById(id);

// What the visitor chose, and what follows from it: `clean` and `noisy` are 784 bytes, or null while there is no digit.
const state = { source: 0, kind: "gaussian", level: 0.5, seed: 1, clean: null, cleanOf: -1, noisy: null };

const results = createResults();
const pad = createPad(element("canvas"), () => sourceChanged({ sameDigit: true }));
const schedule = latestOnly(round);
const status = watchStatus({ retry });

/** The drawing, through the gateway's own preprocessing, then with noise through both ways of the chain. */
async function round({ isLate, isNewest }) {
  if (pad.isEmpty()) return;
  const source = state.source;
  try {
    if (state.cleanOf !== source) {
      const clean = await centred();
      if (isLate()) return;
      Object.assign(state, { clean, cleanOf: source });
      paint(element("clean"), clean);
      makeNoisy();
    }
    const sent = state.noisy;
    const [cleaned, plain] = await Promise.all([
      recognize(sent, RAW, { ...READ_RAW, denoise: "always" }),
      recognize(sent, RAW, { ...READ_RAW, denoise: "never" }),
    ]);
    if (isLate() || pad.isEmpty()) return;
    if (sent === state.noisy) paint(element("noisy"), await bytesOf(cleaned.results[0].input));
    await results.show(cleaned, plain);
    status.answered(cleaned);
    notice(null);
    if (isNewest()) element("reading").ariaBusy = "false";
  } catch (error) {
    if (!isLate()) explain(error);
  }
}

/** What the gateway makes of the picture: cropped, scaled and centred like MNIST. */
async function centred() {
  const form = new FormData(); // in a form the gateway looks at the file itself, whatever its name or type claims
  form.append("picture", await pad.toBlob());
  const answer = await recognize(form, null, { preprocess: "auto", denoise: "never", include: "input" });
  return bytesOf(answer.results[0].input);
}

function explain(error) {
  if (!(error instanceof ChainError)) throw error;
  notice(error.again ? `${error.message} Trying again…` : error.message, error);
  if (error.again) status.failed(error);
}

/** What is shown is no longer the answer to what was drawn: get that one. */
function refresh() {
  element("reading").ariaBusy = "true";
  schedule();
}

function retry() {
  if (pad.isEmpty()) return false;
  refresh();
  return true;
}

function notice(sentence, { needsKey = false } = {}) {
  element("notice").hidden = !sentence;
  element("notice-text").textContent = sentence ?? "";
  element("key-form").hidden = !needsKey;
}

/** There is something new to read. Unless it is the same digit growing, the old answer goes at once. */
function sourceChanged({ sameDigit = false } = {}) {
  state.source += 1;
  const empty = pad.isEmpty();
  if (!sameDigit || empty) results.clear();
  if (empty) {
    element("reading").ariaBusy = "false";
    Object.assign(state, { clean: null, noisy: null });
    for (const id of ["clean", "noisy"]) blank(element(id));
    element("curl").textContent = "";
  }
  element("pad-hint").hidden = !empty;
  element("undo").disabled = !pad.canUndo();
  element("clear").disabled = empty;
  notice(null);
  if (!empty) refresh();
  showControls();
}

function noiseChanged() {
  element("level-text").textContent = state.level.toFixed(2);
  element("marker").style.setProperty("--level", state.level);
  if (!state.clean) return;
  makeNoisy();
  refresh();
}

/** The noisy picture is made here, so it follows the slider without waiting for anybody. */
function makeNoisy() {
  state.noisy = addNoise(state.clean, state.kind, state.level, state.seed);
  paint(element("noisy"), state.noisy);
  const url = recognizeUrl({ preprocess: "none", denoise: "always", include: "probabilities" });
  element("curl").textContent = curlCommand(url, element("noisy").toDataURL(), { withKey: Boolean(apiKey.get()) });
  showControls();
}

function showControls() {
  element("sweep").disabled = !state.clean || element("sweep").ariaBusy === "true";
  element("copy").disabled = !state.noisy;
}

async function takeFile(file) {
  await pad.setFile(file);
  sourceChanged();
}

async function sweep() {
  const button = element("sweep");
  button.ariaBusy = "true";
  button.textContent = "Sweeping…";
  showControls();
  const { clean, kind } = state;
  try {
    const answer = await recognize(clean, RAW, { preprocess: "none", denoise: "always" });
    const digit = answer.results[0].digit;
    showSweep({ ...(await measure({ clean, kind, digit })), title: NOISES[kind].title });
  } catch (error) {
    explain(error);
  } finally {
    button.ariaBusy = "false";
    button.textContent = "Sweep all levels";
    showControls();
  }
}

async function copyCurl() {
  await navigator.clipboard.writeText(element("curl").textContent);
  element("copy").textContent = "Copied";
  setTimeout(() => {
    element("copy").textContent = "Copy";
  }, COPIED_MS);
}

function addSamples() {
  const buttons = SAMPLES.map((strokes, digit) => {
    const button = document.createElement("button");
    button.type = "button";
    button.ariaLabel = `Sample digit ${digit}`;
    const picture = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    picture.setAttribute("viewBox", "10 0 80 100");
    picture.setAttribute("aria-hidden", "true");
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("d", pathOf(strokes));
    picture.append(path);
    button.append(picture);
    button.addEventListener("click", () => {
      pad.setStrokes(strokes);
      sourceChanged();
    });
    return button;
  });
  element("samples").append(...buttons);
}

function listen() {
  element("undo").addEventListener("click", () => {
    pad.undo();
    sourceChanged({ sameDigit: true });
  });
  element("clear").addEventListener("click", () => {
    pad.setStrokes([]);
    sourceChanged();
  });
  element("file").addEventListener("change", ({ target }) => {
    if (target.files.length) takeFile(target.files[0]);
    target.value = ""; // the same file may be chosen again
  });
  document.addEventListener("paste", ({ clipboardData }) => {
    if (clipboardData.files.length) takeFile(clipboardData.files[0]);
  });
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    element("pad").dataset.over = "true";
  });
  document.addEventListener("dragleave", () => delete element("pad").dataset.over);
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    delete element("pad").dataset.over;
    if (event.dataTransfer.files.length) takeFile(event.dataTransfer.files[0]);
  });
  element("kind").addEventListener("change", ({ target }) => {
    state.kind = target.value;
    noiseChanged();
  });
  element("level").addEventListener("input", ({ target }) => {
    state.level = Number(target.value);
    noiseChanged();
  });
  element("again").addEventListener("click", () => {
    state.seed += 1;
    noiseChanged();
  });
  element("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    apiKey.set(element("key").value);
    notice(null);
    refresh();
  });
  element("sweep").addEventListener("click", sweep);
  element("copy").addEventListener("click", copyCurl);
}

element("kind").append(...Object.entries(NOISES).map(([kind, { title }]) => new Option(title, kind)));
addSamples();
prepareStrip();
listen();
noiseChanged();
pad.setStrokes(SAMPLES[FIRST_SAMPLE]);
sourceChanged();
