// A share as a visitor reads it.

/** One decimal is enough, but nearly certain is not certain. */
export function percent(share) {
  if (share > 0.9995 && share < 1) return ">99.9 %";
  return `${(100 * share).toFixed(share === 1 || share < 0.0005 ? 0 : 1)} %`;
}

/** What was read and how sure that is, in words. */
export const said = (what, { confidence, accepted }) => `${what}, ${percent(confidence)}${accepted ? "" : ", rejected"}`;
