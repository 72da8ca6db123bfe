// One digit at every noise level, many samples each, with and without the denoiser: where does reading break?

import { recognize } from "./chain.js";
import { addNoise, PIXELS } from "./noise.js";
import { percent } from "./percent.js";
import { blank, bytesOf, paint } from "./picture.js";

const LEVELS = Array.from({ length: 21 }, (_, step) => step / 20);
const STRIP_LEVELS = LEVELS.filter((_, index) => index % 2 === 0);
const SAMPLES_PER_LEVEL = 32;
const HOLDS = 0.9; // reading holds while nine samples in ten come out right
const PATIENCE = { allowMs: 30_000 }; // hundreds of pictures, perhaps on a busy machine
const RAW = "application/octet-stream";

const element = (id) => document.getElementById(id);
const INTRODUCTION = element("sweep-text").textContent;

/** Ask the chain; `digit` is what the picture shows. Both arms read the very same noisy pictures. */
export async function measure({ clean, kind, digit }) {
  const noisy = LEVELS.flatMap((level) =>
    Array.from({ length: SAMPLES_PER_LEVEL }, (_, seed) => addNoise(clean, kind, level, seed)),
  );
  const shares = async (denoise) => {
    const { results } = await recognize(joined(noisy), RAW, { preprocess: "none", denoise }, PATIENCE);
    return LEVELS.map((_, index) => {
      const ofLevel = results.slice(index * SAMPLES_PER_LEVEL, (index + 1) * SAMPLES_PER_LEVEL);
      return ofLevel.filter((result) => result.digit === digit).length / SAMPLES_PER_LEVEL;
    });
  };
  const withDenoiser = await shares("always");
  const without = await shares("never");
  const examples = STRIP_LEVELS.map((level) => addNoise(clean, kind, level, 0));
  const options = { preprocess: "none", denoise: "always", include: "denoised" };
  const { results } = await recognize(joined(examples), RAW, options, PATIENCE);
  const strip = await Promise.all(
    results.map(async ({ denoised }, index) => ({
      noisy: examples[index],
      denoised: denoised ? await bytesOf(denoised) : new Uint8Array(PIXELS), // black while the denoiser is down
    })),
  );
  return { digit, kind, withDenoiser, without, strip };
}

/** Curves, pictures, a sentence and the numbers. */
export function showSweep({ digit, title, withDenoiser, without, strip }) {
  const sentence =
    `${title} noise, ${SAMPLES_PER_LEVEL} samples a level. Read as ${digit} at least nine times in ten: ` +
    `${reach(withDenoiser)} with the denoiser, ${reach(without)} without.`;
  element("sweep-text").textContent = sentence;
  drawCurves({ withDenoiser, without, sentence });
  strip.forEach(({ noisy, denoised }, index) => {
    const [above, below] = element("strip").children[index].querySelectorAll("canvas");
    paint(above, noisy);
    paint(below, denoised);
  });
  element("sweep-rows").replaceChildren(
    ...LEVELS.map((level, index) => numbersRow(level, withDenoiser[index], without[index])),
  );
  element("chart").dataset.state = "shown";
}

/** Make room for the curves at once, on the click: what grows later would push the page about. */
export function openSweep() {
  element("chart").hidden = false;
}

/** Nothing came: no empty chart. */
export function closeSweep() {
  element("chart").hidden = element("chart").dataset.state === "empty";
}

/** As if there had been none. */
export function clearSweep() {
  element("chart").hidden = true;
  element("chart").dataset.state = "empty";
  element("sweep-text").textContent = INTRODUCTION;
  element("curves").replaceChildren();
  element("sweep-rows").replaceChildren();
  for (const canvas of element("strip").querySelectorAll("canvas")) blank(canvas);
}

function reach(shares) {
  const broken = shares.findIndex((share) => share < HOLDS);
  if (broken === -1) return "at every level";
  return broken === 0 ? "at no level" : `up to level ${LEVELS[broken - 1].toFixed(2)}`;
}

function drawCurves({ withDenoiser, without, sentence }) {
  const points = (shares) => shares.map((share, index) => `${100 * LEVELS[index]},${100 * (1 - share)}`);
  const gap = shape("polygon", "gap", [...points(withDenoiser), ...points(without).reverse()]);
  const curves = [shape("polyline", "without", points(without)), shape("polyline", "with", points(withDenoiser))];
  element("curves").replaceChildren(gap, ...curves);
  element("curves").setAttribute("aria-label", sentence);
}

function shape(tag, name, points) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  node.setAttribute("class", name);
  node.setAttribute("points", points.join(" "));
  return node;
}

function numbersRow(level, withDenoiser, without) {
  const row = document.createElement("tr");
  const name = document.createElement("th");
  name.scope = "row";
  name.textContent = level.toFixed(2);
  const cells = [withDenoiser, without].map((share) => {
    const cell = document.createElement("td");
    cell.textContent = percent(share);
    return cell;
  });
  row.append(name, ...cells);
  return row;
}

function joined(pictures) {
  const all = new Uint8Array(pictures.length * PIXELS);
  pictures.forEach((picture, index) => all.set(picture, index * PIXELS));
  return all;
}
