// 28x28 greyscale pictures: bytes to a canvas, and the API's PNG data URLs back to bytes.

import { PIXELS, SIDE } from "./noise.js";

/** Paint 784 bytes on a 28x28 canvas. */
export function paint(canvas, bytes) {
  const rgba = new Uint8ClampedArray(4 * PIXELS);
  bytes.forEach((value, index) => rgba.set([value, value, value, 255], 4 * index));
  canvas.getContext("2d").putImageData(new ImageData(rgba, SIDE, SIDE), 0, 0);
}

export function blank(canvas) {
  canvas.getContext("2d").clearRect(0, 0, SIDE, SIDE);
}

/** Whether a canvas gives back what was painted on it: against fingerprinting, some browsers give something else. */
export function canvasIsTrue() {
  const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, SIDE, SIDE / 2);
  const { data } = context.getImageData(0, 0, SIDE, SIDE);
  return data.every((value, at) => at % 4 !== 0 || value > 127 === at < data.length / 2);
}

/** The picture in a data URL of the API, as a file: an image with that address would need a policy that allows it. */
export function blobOf(dataUrl) {
  const bytes = Uint8Array.from(atob(dataUrl.slice(dataUrl.indexOf(",") + 1)), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: "image/png" });
}

/** The 784 bytes of a greyscale PNG. */
export async function bytesOf(dataUrl) {
  const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
  context.drawImage(await createImageBitmap(blobOf(dataUrl)), 0, 0);
  const rgba = context.getImageData(0, 0, SIDE, SIDE).data;
  return Uint8Array.from({ length: PIXELS }, (_, index) => rgba[4 * index]);
}
