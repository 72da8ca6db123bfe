// The drawing area: pen strokes or a picture from a file, shown at any size and sent as the file it is.

const UNITS = 100; // strokes live on a square of 100 by 100
const PEN = 8.5;
const SENT_SIDE_PX = 280;
const MOST_PIXELS = 16e6; // larger photographs are made smaller here instead of being refused there
const READ_BY_THE_GATEWAY = new Set(["image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif", "image/tiff"]);

/** `onChange({ sameDigit })` is called after every change a visitor makes by drawing. */
export function createPad(canvas, onChange) {
  let strokes = [];
  let picture = null; // { blob, bitmap } while a file is shown; bitmap is null for kinds the browser cannot draw
  let given = false; // what is shown was not drawn here: the first stroke begins another digit
  let drawing = null;

  const show = () => {
    const side = Math.round(canvas.clientWidth * devicePixelRatio) || SENT_SIDE_PX;
    if (canvas.width !== side) canvas.width = canvas.height = side;
    render(canvas, strokes, picture?.bitmap);
  };
  new ResizeObserver(show).observe(canvas);

  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [(UNITS * (event.clientX - box.left)) / box.width, (UNITS * (event.clientY - box.top)) / box.height];
  };
  const finish = () => {
    drawing = null;
  };

  canvas.addEventListener("pointerdown", (event) => {
    if (!event.isPrimary || event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    const sameDigit = !given;
    drawing = [at(event)];
    [strokes, picture, given] = [given ? [drawing] : [...strokes, drawing], null, false];
    show();
    onChange({ sameDigit });
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!drawing || !event.isPrimary) return;
    const events = event.getCoalescedEvents?.() ?? [];
    drawing.push(...(events.length ? events : [event]).map(at));
    show();
    onChange({ sameDigit: true });
  });
  canvas.addEventListener("pointerup", finish);
  canvas.addEventListener("pointercancel", finish);

  return {
    isEmpty: () => !picture && strokes.length === 0,
    canUndo: () => !picture && strokes.length > 0,
    undo: () => {
      strokes = strokes.slice(0, -1);
      show();
    },
    setStrokes: (newStrokes) => {
      [picture, strokes, drawing, given] = [null, newStrokes, null, true];
      show();
    },
    setFile: async (blob) => {
      const bitmap = await createImageBitmap(blob).catch(() => null); // TIFF, say: the gateway may still read it
      [picture, strokes, drawing, given] = [{ blob, bitmap }, [], null, true];
      show();
    },
    /** What to send: the file untouched where the gateway can read it, otherwise what is shown, as a PNG. */
    toBlob: async () => {
      if (picture && isReadable(picture)) return picture.blob;
      const sheet = new OffscreenCanvas(SENT_SIDE_PX, SENT_SIDE_PX);
      render(sheet, strokes, picture?.bitmap);
      return sheet.convertToBlob({ type: "image/png" });
    },
  };
}

function isReadable({ blob, bitmap }) {
  if (!bitmap) return true; // the browser cannot, so the gateway has the last word
  return READ_BY_THE_GATEWAY.has(blob.type) && bitmap.width * bitmap.height <= MOST_PIXELS;
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
  const side = canvas.width;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#000";
  context.fillRect(0, 0, side, side);
  if (bitmap) {
    const scale = side / Math.max(bitmap.width, bitmap.height);
    const [width, height] = [bitmap.width * scale, bitmap.height * scale];
    context.imageSmoothingEnabled = scale < 2; // pixels stay pixels when a small picture is blown up
    context.drawImage(bitmap, (side - width) / 2, (side - height) / 2, width, height);
    return;
  }
  context.scale(side / UNITS, side / UNITS);
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
