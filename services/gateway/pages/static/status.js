// Whether the stack is ready and which versions it serves: asked now and then, more often while it is down.

import { ChainError, readiness } from "./chain.js";

const ASK_WHEN_READY_MS = 10_000;
const ASK_WHEN_DOWN_MS = 1_500;
const TITLES = { asking: "Asking the models…", ready: "Ready", busy: "Not at its best", down: "Not ready" };

/**
 * Keeps the line in the header true, and has `say` tell the visitor what is wrong (null: nothing). Once a request has
 * failed, only an answer proves that all is well again: when the stack says it is ready, `retry()` sends the request
 * anew and returns whether there was one to send. `stale(true)`: what is shown answers an older question.
 */
export function watchStatus({ retry, say, stale }) {
  const box = document.getElementById("status");
  const text = document.getElementById("status-text");
  const detail = document.getElementById("status-detail");
  let failed = false;
  let timer;

  function show(state, sentence) {
    box.dataset.state = state;
    text.textContent = TITLES[state];
    if (sentence !== undefined) detail.textContent = sentence;
  }

  async function ask() {
    clearTimeout(timer);
    let pauseMs = ASK_WHEN_READY_MS;
    if (!document.hidden) {
      try {
        await readiness();
        if (failed && retry()) {
          pauseMs = ASK_WHEN_DOWN_MS;
        } else if (failed || box.dataset.state === "asking") {
          if (failed) say(null);
          recovered();
          show("ready", "");
        }
      } catch (error) {
        if (!(error instanceof ChainError)) throw error;
        fail(error);
        pauseMs = ASK_WHEN_DOWN_MS;
      }
    }
    askAfter(pauseMs);
  }

  function askAfter(pauseMs) {
    clearTimeout(timer);
    timer = setTimeout(ask, pauseMs);
  }

  function fail(error) {
    failed = true;
    const missing = error.missing.length ? `no ${error.missing.join(", no ")}` : "";
    show(error.busy ? "busy" : "down", missing || "trying again…");
    stale(true);
    say(`${error.message} Trying again…`, error);
  }

  function recovered() {
    failed = false;
    stale(false);
  }

  /** A request failed: /readyz knows which model is to blame. */
  async function blame() {
    try {
      await readiness();
    } catch (error) {
      if (!(error instanceof ChainError)) throw error;
      if (failed && error.missing.length) fail(error);
    }
  }

  document.addEventListener("visibilitychange", ask);
  ask();
  return {
    /** An answer just came, from these models. */
    answered: ({ degraded, models: { denoiser, classifier } }) => {
      recovered();
      if (degraded) {
        show("busy", "reads without the denoiser");
        return;
      }
      const versions = [denoiser, classifier].filter(Boolean).map(({ name, version }) => `${name} v${version}`);
      show("ready", versions.join(", "));
    },
    /** A request just failed, but may succeed later. */
    failed: (error) => {
      fail(error);
      askAfter(error.afterMs);
      if (!error.busy) blame();
    },
  };
}
