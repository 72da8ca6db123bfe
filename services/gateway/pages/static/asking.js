// Asking for what the page shows, on every page alike: at work, answered, out of date, refused, to be tried again.

import { ChainError } from "./chain.js";
import { latestOnly } from "./latest.js";
import { notice } from "./notice.js";
import { canvasIsTrue } from "./picture.js";
import { watchStatus } from "./status.js";

const CANVAS_IS_FALSE =
  "This browser keeps pages from reading what is drawn on them, against fingerprinting. Allow it here, and load the page again.";
const SLOW_MS = 1000; // an old answer may stand beside a new picture for so long

const element = (id) => document.getElementById(id);

/**
 * `round` asks once, as `latestOnly` has it, while there is something to read (`isEmpty()` is false), and throws what
 * went wrong. An answer that is out of date fades, and with it the elements `fading`; `forget()` is called when what was
 * sent cannot be read, or is another picture whose answer takes long.
 */
export function createAsking({ round, isEmpty, fading = [], forget = () => {} }) {
  const reading = element("reading");
  const schedule = latestOnly(ask);
  let slow;
  const status = watchStatus({ retry, say: notice, stale });

  async function ask(turn) {
    try {
      if (!canvasIsTrue()) throw new ChainError(CANVAS_IS_FALSE, {});
      await round(turn);
    } catch (error) {
      explain(error);
    }
  }

  /** What is shown is no longer the answer to what was drawn: get that one. */
  function refresh() {
    wait();
    schedule();
  }

  function wait() {
    reading.ariaBusy = "true";
    slow ??= setTimeout(late, SLOW_MS);
  }

  function late() {
    slow = undefined;
    if (reading.dataset.state === "shown") stale(true);
    else forget();
  }

  function rest() {
    reading.ariaBusy = "false";
    slow = clearTimeout(slow);
  }

  function retry() {
    if (isEmpty()) return false;
    refresh();
    return true;
  }

  /** The answer on the page is not the answer to what the page shows: it fades until there is a new one. */
  function stale(old) {
    const fades = old && reading.dataset.state === "shown";
    for (const each of [reading, ...fading]) each.dataset.stale = String(fades);
    element("stale").hidden = !fades;
  }

  function answered(answer, isNewest) {
    status.answered(answer);
    notice(null);
    rest();
    if (!isNewest()) wait();
  }

  function explain(error) {
    if (!(error instanceof ChainError)) {
      notice("Something went wrong on this page.", { detail: String(error) }); // instead of standing still without a word
      rest();
      throw error;
    }
    if (error.again) {
      status.failed(error);
    } else {
      notice(error.message, error);
      forget();
      rest();
    }
  }

  return { refresh, rest, stale, answered, explain };
}
