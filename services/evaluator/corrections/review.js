// One picture at a time, the most doubtful first: a key or a button for each digit, N for no digit, S to skip, U to undo.

const NO_DIGIT = -1;
const byId = (id) => document.getElementById(id);
const state = { waiting: [], done: [], skipped: new Set(), rows: 0, labelled: 0 };

const keyOf = (capture) => `${capture.request_id}/${capture.index}`;

async function load() {
  try {
    const answer = await (await fetch("captures")).json();
    if (answer.error) throw new Error(answer.error);
    state.waiting = answer.captures.filter((capture) => !state.skipped.has(keyOf(capture)));
    state.rows = answer.rows;
    state.labelled = answer.labelled;
    byId("trouble").textContent = "";
  } catch (error) {
    byId("trouble").textContent = `The captures could not be loaded: ${error.message}`;
  }
  show();
}

async function send(capture, label) {
  const response = await fetch("label", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ request_id: capture.request_id, index: capture.index, label }),
  });
  const answer = await response.json();
  if (!response.ok) throw new Error(answer.error);
  state.labelled = answer.labelled;
}

async function label(value) {
  const capture = state.waiting.shift();
  if (!capture) return;
  show();
  try {
    await send(capture, value);
    state.done.push(capture);
    byId("trouble").textContent = "";
  } catch (error) {
    state.waiting.unshift(capture);
    byId("trouble").textContent = `Not saved: ${error.message}`;
  }
  if (state.waiting.length) show();
  else await load();
}

function skip() {
  const capture = state.waiting.shift();
  if (capture) state.skipped.add(keyOf(capture));
  if (state.waiting.length) show();
  else load();
}

function undo() {
  const capture = state.done.pop();
  if (capture) state.waiting.unshift(capture); // the next label replaces the one that was given
  show();
}

function show() {
  const [capture, ...next] = state.waiting;
  byId("progress").textContent = `${state.labelled} of ${state.rows} pictures labelled`;
  byId("picture").hidden = !capture;
  byId("empty").hidden = Boolean(capture);
  byId("empty").textContent = left(state.skipped.size);
  byId("question").textContent = capture ? "Which digit is this?" : "Done";
  byId("queue").hidden = !next.length;
  byId("undo").disabled = !state.done.length;
  byId("skip").disabled = !capture;
  for (const button of byId("keys").children) {
    button.disabled = !capture;
    button.classList.toggle("guess", Boolean(capture) && Number(button.dataset.label) === capture.digit);
  }
  byId("answered").textContent = capture ? said(capture) : "";
  if (capture) byId("picture").src = capture.picture;
  byId("next").replaceChildren(...next.slice(0, 20).map(small));
}

function left(skipped) {
  if (!skipped) return "Nothing is left to label. Reload the page to look for new pictures.";
  const pictures = skipped === 1 ? "the picture" : `the ${skipped} pictures`;
  return `Nothing is left to label but ${pictures} that you skipped. Reload the page to see them, and new ones.`;
}

function said(capture) {
  const percent = (share) => `${Math.round(100 * share)} %`;
  const single = capture.is_digit === null ? "" : `; a single digit: ${percent(capture.is_digit)}`;
  return `Read as ${capture.digit} with confidence ${percent(capture.confidence)}${single}`;
}

function small(capture) {
  const image = document.createElement("img");
  image.src = capture.picture;
  image.alt = `read as ${capture.digit}`;
  return image;
}

function key(text, value) {
  const button = document.createElement("button");
  button.type = "button";
  button.dataset.label = value;
  button.textContent = text;
  button.addEventListener("click", () => label(value));
  return button;
}

byId("keys").append(...Array.from({ length: 10 }, (_, digit) => key(String(digit), digit)));
const none = key("No digit", NO_DIGIT);
none.className = "none";
none.append(" ", Object.assign(document.createElement("kbd"), { textContent: "N" }));
byId("keys").append(none);
byId("skip").addEventListener("click", skip);
byId("undo").addEventListener("click", undo);
document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.metaKey || event.altKey) return; // a key held down is one answer
  const pressed = event.key.toLowerCase();
  if (/^[0-9]$/.test(pressed)) label(Number(pressed));
  else if (pressed === "n") label(NO_DIGIT);
  else if (pressed === "s") skip();
  else if (pressed === "u") undo();
});
load();
