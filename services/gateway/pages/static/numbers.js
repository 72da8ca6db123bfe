// The page of numbers: a drawing or a picture of several digits gets noise and is read with and without the denoiser.

import { createAsking } from "./asking.js";
import { enable, onClick } from "./buttons.js";
import { apiKey, ChainError, read, urlOf } from "./chain.js";
import { copyFrom, curlCommand, curlWithFile } from "./curl.js";
import { onFile } from "./files.js";
import { createKinds } from "./kinds.js";
import { digitOf, lineOf, onBitmap, pngOf } from "./line.js";
import { addNoise } from "./noise.js";
import { notice, onKey } from "./notice.js";
import { createPad, openFile } from "./pad.js";
import { blobOf } from "./picture.js";
import { createReadings } from "./readings.js";
import { SAMPLES } from "./samples.js";

const WIDE = 2.2; // the pad's width to its height, as in numbers.css
const SAMPLE_SHARE = 0.8; // of a sample digit to one that fills the pad's height
const SAMPLE_PITCH = 60; // from one sample digit to the next, of the 100 that one is drawn on
const SHOWN = "boxes,alternatives,input,denoised";

const element = (id) => document.getElementById(id);

const MOST_PASTED_BYTES = 90_000; // in base64 as long as Linux lets an argument be
const CALL_NOTE = element("call-note").textContent;
const FILE_NOTE = "The request behind the answer above. The picture is too large to be pasted: it is read from its file.";

const opening = element("main").dataset;

// What the visitor chose, and what follows from it. `line` is the drawing on the models' grid, `version` counts every
// change of the drawing, `number` only those that begin another one.
const state = { level: 0, seed: Number(opening.seed), version: 0, number: 0, blob: null, bitmap: null, line: null };
state.lineOf = -1;

const readings = createReadings();
const kinds = createKinds(noiseChanged);
const pad = createPad(element("canvas"), strokesOf(opening.number), sourceChanged, { wide: WIDE });
const asking = createAsking({ round, isEmpty: pad.isEmpty, fading: [element("boxes")] });

/** The drawing as it is, for its digits' size; then with noise through both ways of the chain. */
async function round({ isLate, isNewest }) {
  if (pad.isEmpty()) return;
  const { version, number } = state;
  const isGone = () => isLate() || number !== state.number;
  try {
    if (state.lineOf !== version) {
      const blob = await pad.toBlob();
      const [bitmap, plain] = await Promise.all([
        createImageBitmap(blob),
        read(blob, { denoise: "always", include: "boxes" }),
      ]);
      if (isGone()) return;
      const boxes = plain.results[0].digits.map(({ box }) => box);
      const line = lineOf(bitmap, boxes);
      Object.assign(state, { blob, bitmap, line, lineOf: version, thumbnail: digitOf(line, boxes[0]) });
      showKinds();
    }
    const { level, seed, line, bitmap } = state;
    const noisy = { ...line, pixels: addNoise(line.pixels, kinds.chosen(), level, seed, line) };
    const sent = level ? await pngOf(noisy) : state.blob;
    const [cleaned, plain] = await Promise.all([
      read(sent, { denoise: "always", include: SHOWN }),
      read(sent, { denoise: "never", include: SHOWN }),
    ]);
    if (isGone()) return;
    const digits = cleaned.results[0].digits.map((digit) => ({
      ...digit,
      box: level ? onBitmap(digit.box, line) : digit.box,
    }));
    await readings.show({ cleaned, plain, digits, bitmap, pad: element("canvas") });
    await showCommand(sent);
    asking.answered(cleaned, isNewest);
  } catch (error) {
    if (!isGone()) throw error;
  }
}

/** There is something new to read. Unless it is the same number growing, the old answer goes at once. */
function sourceChanged({ sameDigit = false } = {}) {
  const empty = pad.isEmpty();
  state.version += 1;
  if (!sameDigit || empty) {
    state.number += 1;
    state.line = null;
    readings.clear();
    asking.stale(false);
    showKinds();
    element("curl").textContent = "";
    enable("copy", false);
  }
  element("pad-hint").hidden = !empty;
  enable("undo", pad.canUndo());
  enable("clear", !empty);
  notice(null);
  if (empty) asking.rest();
  else asking.refresh();
}

function noiseChanged() {
  state.level = Number(element("level").value);
  element("level-text").textContent = state.level.toFixed(2);
  if (!state.line) return;
  showKinds();
  asking.refresh();
}

function showKinds() {
  kinds.show(state.line && state.thumbnail, state.level, state.seed);
}

async function showCommand(picture) {
  const url = urlOf("v1/read", { denoise: "always", include: "boxes" });
  const pasted = picture.size <= MOST_PASTED_BYTES;
  const withKey = Boolean(apiKey.get());
  element("call-note").textContent = pasted ? CALL_NOTE : FILE_NOTE;
  element("curl").textContent = pasted
    ? curlCommand(url, await dataUrlOf(picture), { withKey })
    : curlWithFile(url, picture, { withKey });
  enable("copy", true);
}

function dataUrlOf(blob) {
  return new Promise((resolve) => {
    const reader = new FileReader();
    reader.addEventListener("load", () => resolve(reader.result));
    reader.readAsDataURL(blob);
  });
}

/** A file takes the drawing's place once the gateway has read it: a damaged one changes nothing. */
async function takeFile(file) {
  element("reading").ariaBusy = "true";
  let picture = await openFile(file);
  if (!picture.bitmap) {
    // of a kind that the browser does not know: the line that the gateway finds in it stands for it
    try {
      const { input } = (await read(file, { denoise: "never", include: "input" })).results[0];
      if (!input) throw new ChainError("No number is to be seen on this picture.", {});
      picture = await openFile(blobOf(input));
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      notice(error.message, error);
      asking.rest();
      return;
    }
  }
  pad.setPicture(picture);
  sourceChanged();
}

/** A number in the handwriting of the sample digits. */
function strokesOf(number) {
  const scale = Math.min(SAMPLE_SHARE, (96 * WIDE) / (SAMPLE_PITCH * number.length));
  const left = 50 * WIDE - (scale * SAMPLE_PITCH * number.length) / 2;
  return [...number].flatMap((digit, place) =>
    SAMPLES[digit].map((stroke) =>
      stroke.map(([x, y]) => [left + scale * (SAMPLE_PITCH * (place + 0.5) + x - 50), 50 + scale * (y - 50)]),
    ),
  );
}

function listen() {
  onClick("undo", () => sourceChanged(pad.undo()));
  onClick("clear", () => {
    pad.clear();
    sourceChanged();
  });
  for (const button of element("samples").children) {
    button.addEventListener("click", () => {
      pad.setStrokes(strokesOf(button.dataset.number));
      sourceChanged();
    });
  }
  onFile(takeFile, { input: element("file"), place: element("pad") });
  element("level").addEventListener("input", noiseChanged);
  addEventListener("pageshow", noiseChanged); // on the way back here, browsers fill in what was chosen, and say nothing
  onClick("again", () => {
    state.seed += 1;
    noiseChanged();
  });
  onKey(asking.refresh);
  onClick("copy", () => copyFrom(element("curl"), element("copy")));
}

listen();
noiseChanged();
sourceChanged();
