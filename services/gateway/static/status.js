// Whether the stack is ready and which versions it serves: asked now and then, more often while it is down.

import { ChainError, readiness } from "./chain.js";

const ASK_WHEN_READY_MS = 10_000;
const ASK_WHEN_DOWN_MS = 1_500;

/** Keeps the line in the header true; `onBack()` is called when the stack comes back. */
export function watchStatus({ onBack }) {
  const box = document.getElementById("status");
  const text = document.getElementById("status-text");
  const detail = document.getElementById("status-detail");
  let ready = true;
  let timer;

  async function ask() {
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        await readiness();
        up();
      } catch (error) {
        if (!(error instanceof ChainError)) throw error;
        down(error.message);
      }
    }
    clearTimeout(timer);
    timer = setTimeout(ask, ready ? ASK_WHEN_READY_MS : ASK_WHEN_DOWN_MS);
  }

  function up() {
    const wasDown = !ready;
    ready = true;
    box.dataset.state = "ready";
    text.textContent = "Ready";
    if (wasDown) onBack();
  }

  function down(sentence) {
    ready = false;
    box.dataset.state = "down";
    text.textContent = "Not ready";
    detail.textContent = `${sentence} Trying again…`;
  }

  document.addEventListener("visibilitychange", ask);
  ask();
  return {
    /** An answer just came, from these models. */
    answered: ({ models }) => {
      up();
      detail.textContent = [models.denoiser, models.classifier]
        .filter(Boolean)
        .map(({ name, version }) => `${name} v${version}`)
        .join(", ");
    },
    /** A request just failed in a way that says the stack is down. */
    failed: (sentence) => {
      down(sentence);
      clearTimeout(timer);
      timer = setTimeout(ask, ASK_WHEN_DOWN_MS);
    },
  };
}
