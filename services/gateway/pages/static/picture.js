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

/** The 784 bytes of a greyscale PNG. */
export async function bytesOf(dataUrl) {
  const image = new Image();
  image.src = dataUrl;
  await image.decode();
  const context = new OffscreenCanvas(SIDE, SIDE).getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  const rgba = context.getImageData(0, 0, SIDE, SIDE).data;
  return Uint8Array.from({ length: PIXELS }, (_, index) => rgba[4 * index]);
}
