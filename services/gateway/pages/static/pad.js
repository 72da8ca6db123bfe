// The drawing area: pen strokes or a picture from a file, shown at any size and sent as the file it is.

const UNITS = 100; // the pad's height; strokes of a digit live on a square of 100 by 100
const PEN = 8.5;
const SENT_HEIGHT_PX = 280;
const SENT_LONGEST_PX = 1024; // of what the gateway cannot read as it is
const MOST_PIXELS = 16e6; // larger photographs are made smaller here instead of being refused there,
const MOST_BYTES = 8e6; // or sent again and again
const READ_BY_THE_GATEWAY = new Set(["image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif", "image/tiff"]);

const MOST_STEPS = 100; // that can be undone

/**
 * Shows `strokes` until something else is drawn or given, on a pad `wide` times as wide as it is high.
 * `onChange({ sameDigit })` is called after every change a visitor makes by drawing.
 */
export function createPad(canvas, strokes, onChange, { wide = 1 } = {}) {
  // What is shown: strokes, or { blob, bitmap } of a file (bitmap is null for kinds the browser cannot draw). `digit`
  // counts what was begun; `given`: it was not drawn here, so the first stroke begins another one.
  let now = { digit: 0, strokes, picture: null, given: true };
  let drawing = null;
  let pointer; // that draws: a second finger, or the hand that holds a pen, changes nothing
  const before = [];

  const show = () => {
    const height = Math.round(canvas.clientHeight * devicePixelRatio) || SENT_HEIGHT_PX;
    if (canvas.height !== height) Object.assign(canvas, { width: Math.round(height * wide), height });
    render(canvas, now.strokes, now.picture?.bitmap);
  };
  new ResizeObserver(show).observe(canvas);

  const change = (next) => {
    before.push(now);
    if (before.length > MOST_STEPS) before.shift();
    now = { picture: null, given: false, ...next };
    show();
  };
  const begun = () => Math.max(now.digit, ...before.map(({ digit }) => digit)) + 1;

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    const scale = UNITS / box.height;
    return [scale * (event.clientX - box.left), scale * (event.clientY - box.top)];
  };
  const finish = () => {
    drawing = null;
  };
  const lifted = ({ pointerId }) => {
    if (pointerId === pointer) finish();
  };

  canvas.addEventListener("pointerdown", (event) => {
    if ((drawing && event.pointerId !== pointer) || !event.isPrimary || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    const sameDigit = !now.given;
    drawing = [at(event)];
    pointer = event.pointerId;
    if (sameDigit) change({ digit: now.digit, strokes: [...now.strokes, drawing] });
    else change({ digit: begun(), strokes: [drawing] });
    onChange({ sameDigit });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing || event.pointerId !== pointer) return;
    const events = event.getCoalescedEvents?.() ?? [];
    drawing.push(...(events.length ? events : [event]).map(at));
    show();
    onChange({ sameDigit: true });
  });
  for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) canvas.addEventListener(end, lifted);

  const isEmpty = () => !now.picture && now.strokes.length === 0;
  return {
    isEmpty,
    canUndo: () => before.length > 0,
    /** One step back; whether that is the same digit with a stroke less. */
    undo: () => {
      const { digit } = now;
      now = before.pop();
      finish();
      show();
      return { sameDigit: digit === now.digit };
    },
    clear: () => {
      finish();
      change({ digit: begun(), strokes: [] });
    },
    setStrokes: (strokes) => {
      finish();
      change({ digit: begun(), strokes, given: true });
    },
    setPicture: (picture) => {
      finish();
      change({ digit: begun(), strokes: [], picture, given: true });
    },
    /** What to send: the file untouched where the gateway can read it, otherwise what is shown, as a PNG. */
    toBlob: () => (now.picture ? fileOf(now.picture) : toPng(sheetOf(now.strokes, wide))),
    /** The same as a canvas or a bitmap; null for a file that the browser cannot show. */
    toBitmap: () => (now.picture ? now.picture.bitmap : sheetOf(now.strokes, wide)),
  };
}

/** A file as a picture for the pad; `bitmap` is null for a kind that the browser cannot show (TIFF, say). */
export async function openFile(blob) {
  return { blob, bitmap: await createImageBitmap(blob).catch(() => null) };
}

/** The file itself where the gateway can read it, otherwise what the browser shows of it, as a PNG. */
export function fileOf(picture) {
  return isReadable(picture) ? picture.blob : toPng(shrunk(picture.bitmap));
}

/** Where a bitmap lies on a pad of that size: all of it, in the middle. */
export function fitted(bitmap, pad) {
  const scale = Math.min(pad.width / bitmap.width, pad.height / bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  return { x: (pad.width - width) / 2, y: (pad.height - height) / 2, width, height };
}

function shrunk(bitmap) {
  const scale = Math.min(1, SENT_LONGEST_PX / Math.max(bitmap.width, bitmap.height));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.round(side * scale)));
  const sheet = new OffscreenCanvas(width, height);
  sheet.getContext("2d").drawImage(bitmap, 0, 0, width, height);
  return sheet;
}

function sheetOf(strokes, wide) {
  const sheet = new OffscreenCanvas(wide * SENT_HEIGHT_PX, SENT_HEIGHT_PX);
  render(sheet, strokes);
  return sheet;
}

const toPng = (sheet) => sheet.convertToBlob({ type: "image/png" });

function isReadable({ blob, bitmap }) {
  if (!bitmap) return true; // the browser cannot, so the gateway has the last word
  const small = blob.size <= MOST_BYTES && bitmap.width * bitmap.height <= MOST_PIXELS;
  return small && READ_BY_THE_GATEWAY.has(blob.type);
}

/** The strokes as an SVG path, for small pictures of them. */
export function pathOf(strokes) {
  return strokes
    .map((points) => {
      const [first, ...rest] = middles(points);
      return `M${first.to.join(" ")}` + rest.map(({ bend, to }) => `Q${bend.join(" ")} ${to.join(" ")}`).join("");
    })
    .join("");
}

function render(canvas, strokes, bitmap) {
  const context = canvas.getContext("2d");
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (bitmap) {
    const { x, y, width, height } = fitted(bitmap, canvas);
    context.imageSmoothingEnabled = width < 2 * bitmap.width; // pixels stay pixels when a small picture is blown up
    context.drawImage(bitmap, x, y, width, height);
    return;
  }
  context.scale(canvas.height / UNITS, canvas.height / UNITS);
  context.strokeStyle = "#fff";
  context.lineWidth = PEN;
  context.lineCap = context.lineJoin = "round";
  for (const points of strokes) {
    context.beginPath();
    for (const { bend, to } of middles(points)) {
      if (bend) context.quadraticCurveTo(...bend, ...to);
      else context.moveTo(...to);
    }
    context.stroke();
  }
}

/** A hand moves smoothly: curves through the middles of its points, each bent by the point between. */
function middles(points) {
  const [first, last] = [points[0], points[points.length - 1]];
  const inner = points.slice(1).map((point, index) => {
    const before = points[index];
    return { bend: before, to: [(before[0] + point[0]) / 2, (before[1] + point[1]) / 2] };
  });
  return [{ to: first }, ...inner, { bend: last, to: last }];
}
