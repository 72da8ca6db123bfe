// The answer side of the page of numbers: two lines and what was read on each, boxes over the drawing.

import { fitted } from "./pad.js";
import { percent, said } from "./percent.js";
import { blobOf } from "./picture.js";

const UNSURE = 0.9; // a digit less certain than this is marked
const WORTH_SAYING = 0.0005; // less is 0 %
const SIDES = ["with", "without"];

const element = (id) => document.getElementById(id);

/** What shows the answers; every part has its place on the page before it comes, so that nothing moves. */
export function createReadings() {
  let announcing;

  /** `digits` are those of the cleaned reading, with their boxes on `bitmap`, which the pad shows. */
  async function show({ cleaned, plain, digits, bitmap, pad }) {
    const [withDenoiser, without] = [cleaned.results[0], plain.results[0]];
    await Promise.all([draw(element("noisy"), without.input), draw(element("denoised"), withDenoiser.denoised)]);
    element("reading").dataset.state = "shown";
    verdict("with", withDenoiser);
    verdict("without", without);
    showBoxes(digits, withDenoiser.accepted, bitmap, pad);
    element("remarks").textContent = withDenoiser.hint ?? rivals(withDenoiser) ?? "\u00a0";
    const { timings_ms: timings, roundTripMs } = cleaned;
    element("timing-text").textContent =
      `${timings.total.toFixed(0)} ms in the service, ${roundTripMs.toFixed(0)} ms round trip`;
    clearTimeout(announcing); // one sentence once it is quiet, not one for every stroke
    announcing = setTimeout(() => {
      element("announcement").textContent =
        `With the denoiser: ${numberSaid(withDenoiser)}. Without: ${numberSaid(without)}.`;
    }, 700);
  }

  function clear() {
    clearTimeout(announcing);
    element("reading").dataset.state = "empty";
    for (const side of SIDES) {
      element(`number-${side}`).textContent = "–";
      element(`sure-${side}`).textContent = "";
      delete element(`arm-${side}`).dataset.accepted;
    }
    element("boxes").replaceChildren();
    for (const id of ["noisy", "denoised"]) draw(element(id), null);
    for (const id of ["remarks", "timing-text"]) element(id).textContent = "\u00a0"; // keeps the line's height
  }

  return { show, clear };
}

function verdict(side, { number, confidence, accepted }) {
  element(`arm-${side}`).dataset.accepted = String(accepted);
  element(`number-${side}`).textContent = number || "–";
  element(`sure-${side}`).textContent = number ? `${percent(confidence)} sure` : "no number seen";
}

const numberSaid = (reading) => (reading.number ? said(reading.number, reading) : "no number");

function rivals({ alternatives }) {
  const likely = (alternatives ?? []).filter(({ probability }) => probability >= WORTH_SAYING);
  if (!likely.length) return null;
  return `Or ${likely.map(({ number, probability }) => `${number || "no number"} (${percent(probability)})`).join(", ")}`;
}

/** Each digit's box over the pad, with the digit and how certain it is. */
function showBoxes(digits, accepted, bitmap, pad) {
  const at = fitted(bitmap, { width: pad.clientWidth, height: pad.clientHeight });
  const across = (x) => (100 * (at.x + (x * at.width) / bitmap.width)) / pad.clientWidth;
  const down = (y) => (100 * (at.y + (y * at.height) / bitmap.height)) / pad.clientHeight;
  element("boxes").dataset.accepted = String(accepted);
  element("boxes").replaceChildren(
    ...digits.map(({ digit, confidence, is_digit: isDigit, box }) => {
      const certainty = confidence * isDigit;
      const item = document.createElement("li");
      item.style.left = `${across(box.x)}%`;
      item.style.top = `${down(box.y)}%`;
      item.style.width = `${across(box.x + box.width) - across(box.x)}%`;
      item.style.height = `${down(box.y + box.height) - down(box.y)}%`;
      item.dataset.unsure = String(certainty < UNSURE);
      const tag = document.createElement("span");
      const name = document.createElement("b");
      name.textContent = digit;
      tag.append(name, ` ${Math.floor(100 * certainty)}%`);
      item.append(tag);
      return item;
    }),
  );
}

/** A line's picture from the gateway on a canvas of its size; null leaves it black. */
async function draw(canvas, dataUrl) {
  const context = canvas.getContext("2d");
  if (!dataUrl) {
    context.clearRect(0, 0, canvas.width, canvas.height);
    return;
  }
  const bitmap = await createImageBitmap(blobOf(dataUrl));
  Object.assign(canvas, { width: bitmap.width, height: bitmap.height });
  context.drawImage(bitmap, 0, 0);
}
