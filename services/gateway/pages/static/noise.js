// Noise kinds, the same definitions as services/core/noise.py: (clean, kind, level, seed) -> noisy. A digit's picture is
// 28x28; any other size is given with it.
// Randomness depends on the seed alone, so a slider that changes the level moves one and the same noise sample.

export const SIDE = 28;
export const PIXELS = SIDE * SIDE;

const BLUR_LENGTH_PX = 14;
const OCCLUSION_SIDE_PX = 16;
const CONTRAST_LOSS = 0.7;
const HAZE_LEAST = 0.3;
const HAZE_GRID = 4;
const STRIPE_PERIOD_PX = [8, 16];
const FADED = 0.5;
const EXPOSURE = 0.8;
const SCRIBBLED_LINES = 6;
const DROPS = 20;
const DROP_RADIUS_PX = [0.5, 2];

const MAKERS = {
  stripes,
  occlusion,
  motion_blur: motionBlur,
  gaussian,
  salt_and_pepper: saltAndPepper,
  speckle,
  shot,
  low_contrast: lowContrast,
  haze,
  bright_stripes: brightStripes,
  outlines,
  scribble,
  spatter,
  brightness,
};

const SQUARE = { width: SIDE, height: SIDE };

/** A noisy copy of `clean` (its bytes row by row, white on black). Level 0 leaves it as it is. */
export function addNoise(clean, kind, level, seed, size = SQUARE) {
  if (level === 0) return clean.slice();
  const pixels = Float32Array.from(clean, (value) => value / 255);
  const noisy = MAKERS[kind](pixels, level, randomFrom(seed), size);
  return Uint8Array.from(noisy, (value) => Math.round(255 * Math.min(1, Math.max(0, value))));
}

function gaussian(clean, level, random) {
  return clean.map((value) => value + level * random.normal());
}

function saltAndPepper(clean, level, random) {
  return clean.map((value) => {
    const draw = random.uniform();
    return draw < level / 4 ? 0 : draw >= 1 - level / 4 ? 1 : value;
  });
}

function speckle(clean, level, random) {
  return clean.map((value) => value * (1 + level * random.normal()));
}

function shot(clean, level, random) {
  const photonsAtWhite = 1 / Math.max(level, 1e-3) ** 2;
  return clean.map((value) => {
    const [draw, normal] = [random.uniform(), random.normal()]; // both, always: each pixel keeps its own numbers
    return poisson(value * photonsAtWhite, draw, normal) / photonsAtWhite;
  });
}

function motionBlur(clean, level, random, size) {
  const angle = Math.PI * random.uniform();
  const length = BLUR_LENGTH_PX * level;
  const steps = Math.max(2, Math.ceil(4 * length));
  return clean.map((_, index) => {
    const [row, column] = [Math.floor(index / size.width), index % size.width];
    let sum = 0;
    for (let step = 0; step < steps; step += 1) {
      const offset = length * ((step + 0.5) / steps - 0.5);
      sum += between(clean, row + offset * Math.sin(angle), column + offset * Math.cos(angle), size);
    }
    return sum / steps;
  });
}

function lowContrast(clean, level, random) {
  return clean.map((value) => 0.5 + (value - 0.5) * (1 - CONTRAST_LOSS * level) + (level / 4) * random.normal());
}

function occlusion(clean, level, random, { width, height }) {
  const side = Math.round(OCCLUSION_SIDE_PX * level);
  const top = Math.floor(random.uniform() * (height - side + 1));
  const left = Math.floor(random.uniform() * (width - side + 1));
  return clean.map((value, index) => {
    const [row, column] = [Math.floor(index / width), index % width];
    return row >= top && row < top + side && column >= left && column < left + side ? 0 : value;
  });
}

function stripes(clean, level, random, { width, height }) {
  const upright = random.uniform() < 0.5;
  const offsets = Array.from({ length: upright ? width : height }, () => level * random.normal());
  return clean.map((value, index) => value + offsets[upright ? index % width : Math.floor(index / width)]);
}

function haze(clean, level, random, { width, height }) {
  const grid = Array.from({ length: HAZE_GRID ** 2 }, () => HAZE_LEAST + (1 - HAZE_LEAST) * random.uniform());
  const thickest = Math.max(...grid);
  const weights = (place, side) => {
    const at = (place * (HAZE_GRID - 1)) / (side - 1);
    return Array.from({ length: HAZE_GRID }, (_, node) => Math.max(0, 1 - Math.abs(at - node)));
  };
  return clean.map((value, index) => {
    const [down, right] = [weights(Math.floor(index / width), height), weights(index % width, width)];
    const thickness = grid.reduce((sum, z, at) => sum + z * down[Math.floor(at / HAZE_GRID)] * right[at % HAZE_GRID], 0);
    return value + ((1 - value) * level * thickness) / thickest;
  });
}

function brightStripes(clean, level, random, { width }) {
  const [angle, phase] = [Math.PI * random.uniform(), random.uniform()];
  const period = STRIPE_PERIOD_PX[0] + (STRIPE_PERIOD_PX[1] - STRIPE_PERIOD_PX[0]) * random.uniform();
  return clean.map((value, index) => {
    const across = Math.cos(angle) * (index % width) + Math.sin(angle) * Math.floor(index / width);
    const turns = across / period + phase;
    const place = Math.abs(turns - Math.floor(turns) - 0.5) * period; // pixels from the middle of the stripe
    return value + level * Math.min(1, Math.max(0, period / 4 - place + 0.5));
  });
}

function outlines(clean, level, random, { width, height }) {
  const inside = clean.map((value, index) => {
    const [row, column] = [Math.floor(index / width), index % width];
    for (let r = Math.max(0, row - 1); r <= Math.min(height - 1, row + 1); r += 1) {
      for (let c = Math.max(0, column - 1); c <= Math.min(width - 1, column + 1); c += 1) {
        value = Math.min(value, clean[r * width + c]);
      }
    }
    return value;
  });
  const left = 1 - (1 - FADED) * Math.max(0, 2 * level - 1);
  return clean.map((value, index) => left * (value - Math.min(1, 2 * level) * inside[index]));
}

/** A zigzag: each corner keeps its own numbers, so a higher level adds lines to the same drawing. Along a line of digits. */
function scribble(clean, level, random, { width, height }) {
  const most = (SCRIBBLED_LINES * width) / height;
  const lines = Math.ceil(most * level);
  const turn = width === height ? Math.PI * random.uniform() : 0;
  const thick = random.uniform() < 0.5 && level > 0.5;
  const corners = Array.from({ length: Math.ceil(most) + 1 }, () => [random.uniform(), random.uniform()]);
  const points = corners.slice(0, lines + 1).map(([along, across], at) => {
    const x = at / lines - 0.5 + 0.3 * (along - 0.5);
    const y = across - 0.5;
    const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
    return [width * (x * cos - y * sin + 0.5), height * (x * sin + y * cos + 0.5)];
  });
  return clean.map((value, index) => {
    const [x, y] = [index % width, Math.floor(index / width)];
    const gaps = points.slice(1).map((end, at) => gapToLine(x, y, points[at], end));
    return Math.max(value, Math.min(1, (thick ? 1.5 : 1) - Math.min(...gaps)));
  });
}

function spatter(clean, level, random, { width, height }) {
  const [least, most] = DROP_RADIUS_PX;
  const all = (DROPS * width) / height;
  const drops = Array.from({ length: Math.ceil(all) }, () => ({
    x: width * random.uniform(),
    y: height * random.uniform(),
    radius: least + (most - least) * random.uniform(),
  })).slice(0, Math.ceil(all * level));
  return clean.map((value, index) => {
    const [x, y] = [index % width, Math.floor(index / width)];
    const covered = drops.map((drop) => Math.min(1, drop.radius + 0.5 - Math.hypot(x - drop.x, y - drop.y)));
    return Math.max(value, ...covered);
  });
}

/** Pixels from a point to the nearest one of a line between two corners. */
function gapToLine(x, y, [fromX, fromY], [toX, toY]) {
  const [alongX, alongY] = [toX - fromX, toY - fromY];
  const share = ((x - fromX) * alongX + (y - fromY) * alongY) / (alongX ** 2 + alongY ** 2);
  const nearest = Math.min(1, Math.max(0, share));
  return Math.hypot(x - fromX - nearest * alongX, y - fromY - nearest * alongY);
}

function brightness(clean, level, random) {
  const sign = random.uniform() < 0.5 ? -1 : 1;
  return clean.map((value) => value + sign * EXPOSURE * level);
}

/** The value of a picture between its pixels, bilinear; black outside. */
function between(picture, row, column, { width, height }) {
  const [top, left] = [Math.floor(row), Math.floor(column)];
  const [down, right] = [row - top, column - left];
  const at = (r, c) => (r >= 0 && r < height && c >= 0 && c < width ? picture[r * width + c] : 0);
  return (
    (1 - down) * ((1 - right) * at(top, left) + right * at(top, left + 1)) +
    down * ((1 - right) * at(top + 1, left) + right * at(top + 1, left + 1))
  );
}

/** A Poisson count by walking up its distribution until `draw`; far from zero it is normal to within a count. */
function poisson(mean, draw, normal) {
  if (mean > 60) return Math.max(0, Math.round(mean + Math.sqrt(mean) * normal));
  let [count, term] = [0, Math.exp(-mean)];
  for (let reached = term; draw > reached && count < 200; reached += term) {
    count += 1;
    term *= mean / count;
  }
  return count;
}

/** Repeatable random numbers: mulberry32 under Box-Muller. */
function randomFrom(seed) {
  let state = Math.imul(seed + 1, 0x9e3779b9) >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  return { uniform, normal };
}
