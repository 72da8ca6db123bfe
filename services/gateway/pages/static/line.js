// A line of digits on its own grid: the picture made so small that digits are 20 pixels tall, white on black, as the
// models were trained; noise of a level then means the same as on a single digit.

import { SIDE } from "./noise.js";

const DIGIT_PX = 20;
const AROUND_PX = 12; // of paper that is kept around what was read
const LONGEST_PX = 600;

/**
 * `bitmap` as bytes of a line (`pixels`, `width`, `height`), and `area`: which part of the bitmap it shows. `boxes` are
 * the digits that were read on it.
 */
export function lineOf(bitmap, boxes) {
  const tall = boxes.length ? boxes.map(({ height }) => height).sort((a, b) => a - b)[boxes.length >> 1] : 0;
  const scale = tall ? Math.min(1, DIGIT_PX / tall) : Math.min(1, (2 * DIGIT_PX) / bitmap.height);
  const area = boxes.length ? around(boxes, AROUND_PX / scale, bitmap) : { x: 0, y: 0, ...sizeOf(bitmap) };
  const width = Math.min(LONGEST_PX, Math.max(1, Math.round(area.width * scale)));
  const height = Math.min(LONGEST_PX, Math.max(1, Math.round(area.height * scale)));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, area.x, area.y, area.width, area.height, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const grey = Float32Array.from({ length: width * height }, (_, at) => lightness(data, 4 * at));
  return { pixels: whiteOnBlack(grey, width, height), width, height, area };
}

/** A part of a line as a digit's picture, for the small pictures of noise: around a box on the bitmap. */
export function digitOf({ pixels, width, height, area }, box) {
  const middle = box ? ((box.x + box.width / 2 - area.x) * width) / area.width : width / 2;
  const [left, top] = [Math.round(middle - SIDE / 2), Math.round((height - SIDE) / 2)];
  return Uint8Array.from({ length: SIDE * SIDE }, (_, at) => {
    const [x, y] = [left + (at % SIDE), top + Math.floor(at / SIDE)];
    return x >= 0 && x < width && y >= 0 && y < height ? pixels[y * width + x] : 0;
  });
}

/** A box on the line as one on the bitmap it was made from. */
export function onBitmap(box, { width, height, area }) {
  const [across, down] = [area.width / width, area.height / height];
  return {
    x: area.x + box.x * across,
    y: area.y + box.y * down,
    width: box.width * across,
    height: box.height * down,
  };
}

/** Bytes of a line as a PNG. */
export function pngOf({ pixels, width, height }) {
  const sheet = new OffscreenCanvas(width, height);
  const rgba = new Uint8ClampedArray(4 * pixels.length);
  pixels.forEach((value, index) => rgba.set([value, value, value, 255], 4 * index));
  sheet.getContext("2d").putImageData(new ImageData(rgba, width, height), 0, 0);
  return sheet.convertToBlob({ type: "image/png" });
}

const sizeOf = ({ width, height }) => ({ width, height });

function around(boxes, margin, bitmap) {
  const x = Math.max(0, Math.min(...boxes.map((box) => box.x)) - margin);
  const y = Math.max(0, Math.min(...boxes.map((box) => box.y)) - margin);
  const right = Math.min(bitmap.width, Math.max(...boxes.map((box) => box.x + box.width)) + margin);
  const bottom = Math.min(bitmap.height, Math.max(...boxes.map((box) => box.y + box.height)) + margin);
  return { x, y, width: right - x, height: bottom - y };
}

const lightness = (rgba, at) => 0.299 * rgba[at] + 0.587 * rgba[at + 1] + 0.114 * rgba[at + 2];

/** Paper is what most of the edge shows: it becomes 0, the strongest ink 255. */
function whiteOnBlack(grey, width, height) {
  const edge = grey.filter((_, at) => {
    const [x, y] = [at % width, Math.floor(at / width)];
    return x === 0 || y === 0 || x === width - 1 || y === height - 1;
  });
  const paper = edge.sort()[edge.length >> 1];
  const sign = paper > 127 ? -1 : 1;
  const ink = grey.map((value) => Math.max(0, sign * (value - paper)));
  const full = ink.reduce((most, value) => Math.max(most, value), 1);
  return Uint8Array.from(ink, (value) => Math.round((255 * value) / full));
}
