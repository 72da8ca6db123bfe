// Talks to the gateway: a picture or raw pixels in, readings out; every failure becomes a sentence a visitor understands.

const TIMEOUT_MS = 10_000;
const KEY = "cleardigits-api-key"; // kept for this tab only, or for this page where the browser keeps nothing

/**
 * What went wrong, as a sentence, with the service's own words as `detail`. `again`: trying later may help, after
 * `afterMs`; `busy`: nothing is broken; `needsKey`: an API key would help; `missing`: the models that do not answer.
 */
export class ChainError extends Error {
  constructor(sentence, { again = false, busy = false, needsKey = false, afterMs = 1500, detail = "", missing = [] }) {
    super(sentence);
    Object.assign(this, { again, busy, needsKey, afterMs, detail, missing });
  }
}

/** The visitor's API key, for gateways that ask for one. */
export const apiKey = {
  get: () => kept().getItem(KEY),
  set: (key) => kept().setItem(KEY, key),
};

const ofThisPage = new Map();
const memory = { getItem: (name) => ofThisPage.get(name), setItem: (name, value) => ofThisPage.set(name, value) };

/** Browsers that were told to keep no data of sites throw here, or have null. */
function kept() {
  try {
    return sessionStorage ?? memory;
  } catch {
    return memory;
  }
}

/**
 * The answer of POST /v1/recognize to a body (of `type`, unless it is a form that knows its own), with `roundTripMs` as
 * this browser saw it. `allowMs` asks the gateway for more time than it gives by default.
 */
export function recognize(body, type, options, patience) {
  return ask("v1/recognize", body, type, options, patience);
}

/** The answer of POST /v1/read to one picture of a number, likewise. */
export function read(blob, options) {
  const form = new FormData(); // in a form the gateway looks at the file itself, not at its name or type
  form.append("picture", blob);
  return ask("v1/read", form, null, options);
}

async function ask(path, body, type, options, { allowMs } = {}) {
  const started = performance.now();
  const headers = type ? { "Content-Type": type } : {};
  if (apiKey.get()) headers["X-API-Key"] = apiKey.get();
  if (allowMs) headers["Request-Timeout-Ms"] = String(allowMs);
  const waitMs = Math.max(TIMEOUT_MS, allowMs ?? 0);
  const answer = await call(urlOf(path, options), { method: "POST", body, headers }, waitMs);
  return { ...answer, roundTripMs: performance.now() - started };
}

export function urlOf(path, options) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(options)) url.searchParams.set(name, value);
  return url.href.replaceAll("%2C", ",");
}

/** What /readyz says; throws a ChainError when the stack is not ready. */
export function readiness() {
  return call(new URL("readyz", document.baseURI), { cache: "no-store" });
}

async function call(url, init, waitMs = TIMEOUT_MS) {
  let response;
  let text;
  try {
    response = await fetch(url, { ...init, signal: AbortSignal.timeout(waitMs) });
    text = await response.text(); // the signal covers this too
  } catch (error) {
    if (error.name === "TimeoutError") throw new ChainError("The gateway takes too long to answer.", { again: true });
    throw new ChainError("The gateway does not answer.", { again: true });
  }
  const document = parsed(text);
  if (!response.ok || !document) throw refusal(document ?? {}, response);
  return document;
}

/** Null when it is not JSON: a proxy in between may answer in HTML. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function refusal(problem, response) {
  if (problem.ready === false) return notReady(problem);
  const slug = String(problem.type ?? "")
    .split("/")
    .pop();
  const detail = problem.detail ?? "";
  const afterMs = 1000 * (Number(response.headers.get("Retry-After")) || 1.5);
  const later = { again: true, afterMs };
  switch (slug) {
    case "unsupported-media-type":
    case "invalid-input":
      return new ChainError("This file cannot be read as a picture.", { detail });
    case "payload-too-large":
      return new ChainError("This picture is too large.", { detail });
    case "unauthorized":
      return new ChainError("This gateway asks for an API key.", { needsKey: true });
    case "overloaded":
    case "model-refused":
      return new ChainError("The service is busy.", { ...later, busy: true });
    case "rate-limited":
      return new ChainError("These were more requests than one visitor may send.", { ...later, busy: true });
    case "deadline-exceeded":
    case "model-timeout":
      return new ChainError("The models took too long to answer.", { ...later, detail });
    case "model-unavailable":
    case "model-not-found":
      return new ChainError("The models are not ready.", { ...later, detail });
    default:
      return new ChainError("The service could not answer.", { again: response.status >= 500, afterMs, detail });
  }
}

/** /readyz names, for each model, what is wrong with it. */
function notReady({ draining, models }) {
  if (draining) return new ChainError("The gateway is shutting down.", { again: true });
  const missing = Object.keys(models).filter((role) => models[role] !== "available");
  const sentence = `The ${missing.join(" and the ")} ${missing.length === 1 ? "is" : "are"} not available.`;
  return new ChainError(sentence, { again: true, missing, detail: missing.map((role) => models[role]).join("; ") });
}
