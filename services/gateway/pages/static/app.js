// The page, wired together: a drawing becomes 28x28 pixels, gets noise, and is read with and without the denoiser.

import { createAsking } from "./asking.js";
import { enable, onClick } from "./buttons.js";
import { apiKey, ChainError, recognize, urlOf } from "./chain.js";
import { copyFrom, curlCommand } from "./curl.js";
import { onFile } from "./files.js";
import { createKinds } from "./kinds.js";
import { addNoise } from "./noise.js";
import { notice, onKey } from "./notice.js";
import { createPad, fileOf, openFile, pathOf } from "./pad.js";
import { blank, bytesOf, paint } from "./picture.js";
import { createResults } from "./results.js";
import { SAMPLES } from "./samples.js";
import { clearSweep, closeSweep, measure, openSweep, showSweep } from "./sweep.js";

const RAW = "application/octet-stream";
const READ_RAW = { preprocess: "none", include: "probabilities,denoised,input" };

const element = (id) => document.getElementById(id);

const opening = element("main").dataset;

// What the visitor chose, and what follows from it. `clean` and `noisy` are 784 bytes, or null while there is no digit;
// `version` counts every change of the drawing, `digit` only those that begin another one.
const state = { level: 0, seed: Number(opening.seed), version: 0, digit: 0, clean: null, cleanOf: -1, noisy: null };

const results = createResults();
const kinds = createKinds(noiseChanged);
const pad = createPad(element("canvas"), SAMPLES[opening.digit], sourceChanged);
const asking = createAsking({
  round,
  isEmpty: pad.isEmpty,
  forget: () => {
    if (state.cleanOf !== state.version) forgetPicture(); // nothing of the digit before is left
  },
});

/** The drawing, through the gateway's own preprocessing, then with noise through both ways of the chain. */
async function round({ isLate, isNewest }) {
  if (pad.isEmpty()) return;
  const { version, digit } = state;
  const isGone = () => isLate() || digit !== state.digit;
  try {
    if (state.cleanOf !== version) {
      const clean = await centred(await pad.toBlob());
      if (isGone()) return;
      Object.assign(state, { clean, cleanOf: version });
      paint(element("clean"), clean);
      makeNoisy();
    }
    const sent = state.noisy;
    const [cleaned, plain] = await Promise.all([
      recognize(sent, RAW, { ...READ_RAW, denoise: "always" }),
      recognize(sent, RAW, { ...READ_RAW, denoise: "never" }),
    ]);
    const { input, denoised = null } = cleaned.results[0];
    const [seen, cleanedPicture] = await Promise.all([bytesOf(input), denoised && bytesOf(denoised)]);
    if (isGone()) return;
    if (sent === state.noisy) paint(element("noisy"), seen);
    results.show(cleaned, plain, cleanedPicture);
    asking.answered(cleaned, isNewest);
  } catch (error) {
    if (!isGone()) throw error;
  }
}

/** What the gateway makes of the picture: cropped, scaled and centred like MNIST. */
async function centred(blob) {
  const form = new FormData(); // in a form the gateway looks at the file itself, not at its name or type
  form.append("picture", blob);
  const answer = await recognize(form, null, { preprocess: "auto", denoise: "never", include: "input" });
  return bytesOf(answer.results[0].input);
}

/** There is something new to read. Unless it is the same digit growing, the old answer goes at once. */
function sourceChanged({ sameDigit = false } = {}) {
  const empty = pad.isEmpty();
  state.version += 1;
  if (!sameDigit || empty) {
    state.digit += 1;
    results.clear();
    asking.stale(false);
  }
  if (empty) {
    asking.rest();
    forgetPicture();
    clearSweep();
  }
  element("pad-hint").hidden = !empty;
  enable("undo", pad.canUndo());
  enable("clear", !empty);
  notice(null);
  if (!empty) asking.refresh();
  showControls();
}

function forgetPicture() {
  Object.assign(state, { clean: null, noisy: null });
  for (const id of ["clean", "noisy"]) blank(element(id));
  kinds.show(null);
  element("curl").textContent = "";
  showControls();
}

function noiseChanged() {
  state.level = Number(element("level").value);
  element("level-text").textContent = state.level.toFixed(2);
  element("marker").style.setProperty("--level", state.level);
  if (!state.clean) return;
  makeNoisy();
  asking.refresh();
}

/** The noisy picture is made here, so it follows the slider without a request. */
function makeNoisy() {
  state.noisy = addNoise(state.clean, kinds.chosen(), state.level, state.seed);
  kinds.show(state.clean, state.level, state.seed);
  paint(element("noisy"), state.noisy);
  const url = urlOf("v1/recognize", { preprocess: "none", denoise: "always", include: "probabilities" });
  element("curl").textContent = curlCommand(url, element("noisy").toDataURL(), { withKey: Boolean(apiKey.get()) });
  showControls();
}

function showControls() {
  enable("sweep", state.clean && element("sweep").ariaBusy !== "true");
  enable("copy", state.noisy);
}

/** A file takes the drawing's place once the gateway has read it: a damaged one changes nothing. */
async function takeFile(file) {
  element("reading").ariaBusy = "true";
  const picture = await openFile(file);
  try {
    await centred(await fileOf(picture));
  } catch (error) {
    if (!(error instanceof ChainError)) throw error;
    if (!error.again && !error.needsKey) {
      notice(error.message, error);
      asking.rest();
      return;
    }
  }
  pad.setPicture(picture);
  sourceChanged();
}

async function sweep() {
  const button = element("sweep");
  button.ariaBusy = "true";
  showControls();
  const { clean } = state;
  const [kind, title] = [kinds.chosen(), kinds.title()];
  openSweep();
  try {
    const answer = await recognize(clean, RAW, { preprocess: "none", denoise: "always" });
    const digit = answer.results[0].digit;
    const measured = await measure({ clean, kind, digit });
    if (!pad.isEmpty()) showSweep({ ...measured, title });
  } catch (error) {
    asking.explain(error);
    closeSweep();
    element("sweep-text").textContent = `The sweep stopped. ${error.message}`;
  } finally {
    button.ariaBusy = "false";
    showControls();
  }
}

function fillSamples() {
  [...element("samples").children].forEach((button, digit) => {
    button.querySelector("path").setAttribute("d", pathOf(SAMPLES[digit]));
    button.addEventListener("click", () => {
      pad.setStrokes(SAMPLES[digit]);
      sourceChanged();
    });
  });
}

function listen() {
  onClick("undo", () => sourceChanged(pad.undo()));
  onClick("clear", () => {
    pad.clear();
    sourceChanged();
  });
  onFile(takeFile, { input: element("file"), place: element("pad") });
  element("level").addEventListener("input", noiseChanged);
  addEventListener("pageshow", noiseChanged); // on the way back here, browsers fill in what was chosen, and say nothing
  onClick("again", () => {
    state.seed += 1;
    noiseChanged();
  });
  onKey(asking.refresh);
  onClick("sweep", sweep);
  onClick("copy", () => copyFrom(element("curl"), element("copy")));
}

fillSamples();
listen();
noiseChanged();
sourceChanged();
