// The answer side of the page: two verdicts, ten pairs of bars, the time of each stage.

import { blank, bytesOf, paint } from "./picture.js";

const STAGES = [
  ["decode", "decode"],
  ["queue", "wait"],
  ["denoise", "denoise"],
  ["classify", "classify"],
  ["rest", "other"],
];

export const percent = (share) => `${(100 * share).toFixed(share > 0.9995 || share < 0.0005 ? 0 : 1)} %`;
const milliseconds = (ms) => `${ms < 10 ? ms.toFixed(2) : ms.toFixed(0)} ms`;
const element = (id) => document.getElementById(id);

/** Ten empty rows and five empty stages, so that nothing moves when numbers arrive. */
export function createResults() {
  const rows = Array.from({ length: 10 }, (_, digit) => barRow(digit));
  element("bars").append(...rows.map(({ row }) => row));
  const stages = STAGES.map(([name, title]) => stage(name, title));
  element("stages").append(...stages.map(({ bar }) => bar));
  element("stage-legend").append(...stages.map(({ item }) => item));
  let announcing;

  async function show(cleaned, plain) {
    const [withDenoiser, without] = [cleaned.results[0], plain.results[0]];
    if (withDenoiser.denoised) paint(element("denoised"), await bytesOf(withDenoiser.denoised));
    else blank(element("denoised")); // degraded: the denoiser is down and the gateway reads on without it
    element("reading").dataset.state = withDenoiser.digit === without.digit ? "agree" : "differ";
    verdict("with", withDenoiser);
    verdict("without", without);
    rows.forEach(({ set }, digit) => set(without.probabilities[digit], withDenoiser.probabilities[digit]));
    showTimings(cleaned);
    clearTimeout(announcing); // one sentence once it is quiet, not one for every step of a slider
    announcing = setTimeout(() => {
      element("announcement").textContent =
        `With the denoiser: ${withDenoiser.digit}, ${percent(withDenoiser.confidence)}. ` +
        `Without: ${without.digit}, ${percent(without.confidence)}.`;
    }, 700);
  }

  function showTimings({ timings_ms: timings, roundTripMs }) {
    const known = STAGES.slice(0, -1).reduce((sum, [name]) => sum + timings[name], 0);
    const times = { ...timings, rest: Math.max(0, timings.total - known) };
    element("timing-text").textContent =
      `${milliseconds(timings.total)} in the service, ${milliseconds(roundTripMs)} round trip`;
    stages.forEach(({ set }, index) => set(times[STAGES[index][0]], timings.total));
  }

  function clear() {
    clearTimeout(announcing);
    element("reading").dataset.state = "empty";
    for (const side of ["with", "without"]) {
      element(`digit-${side}`).textContent = "–";
      element(`confidence-${side}`).textContent = "";
    }
    rows.forEach(({ set }) => set(0, 0));
    blank(element("denoised"));
  }

  return { show, clear };
}

function verdict(side, { digit, confidence }) {
  element(`digit-${side}`).textContent = digit;
  element(`confidence-${side}`).textContent = `${percent(confidence)} sure`;
}

function barRow(digit) {
  const row = document.createElement("tr");
  const [without, name, withDenoiser] = [bar("without"), document.createElement("th"), bar("with")];
  name.scope = "row";
  name.textContent = digit;
  row.append(without.cell, name, withDenoiser.cell);
  return {
    row,
    set: (plain, cleaned) => {
      without.set(plain);
      withDenoiser.set(cleaned);
    },
  };
}

function bar(side) {
  const cell = document.createElement("td");
  const fill = document.createElement("span");
  const text = document.createElement("span");
  cell.className = side;
  fill.className = "fill";
  text.className = "value";
  cell.append(fill, text);
  return {
    cell,
    set: (share) => {
      fill.style.setProperty("--share", share);
      cell.style.setProperty("--share", share);
      text.textContent = percent(share);
    },
  };
}

function stage(name, title) {
  const [barPart, item, value] = ["span", "li", "b"].map((tag) => document.createElement(tag));
  barPart.className = item.className = name;
  item.append(title, " ", value);
  value.textContent = "–";
  return {
    bar: barPart,
    item,
    set: (ms, total) => {
      barPart.style.setProperty("--share", total > 0 ? ms / total : 0);
      value.textContent = milliseconds(ms);
    },
  };
}
