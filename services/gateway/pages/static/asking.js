// Asking for what the page shows, on every page alike: at work, answered, out of date, refused, to be tried again.

import { ChainError } from "./chain.js";
import { latestOnly } from "./latest.js";
import { notice } from "./notice.js";
import { watchStatus } from "./status.js";

const element = (id) => document.getElementById(id);

/**
 * `round` asks once, as `latestOnly` has it, while there is something to read (`isEmpty()` is false). An answer that is
 * out of date fades, and with it the elements `fading`; `refused()` is called when what was sent cannot be read.
 */
export function createAsking({ round, isEmpty, fading = [], refused = () => {} }) {
  const reading = element("reading");
  const schedule = latestOnly(round);
  const status = watchStatus({ retry, say: notice, stale });

  /** What is shown is no longer the answer to what was drawn: get that one. */
  function refresh() {
    reading.ariaBusy = "true";
    schedule();
  }

  function rest() {
    reading.ariaBusy = "false";
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
    if (isNewest()) rest();
  }

  function explain(error) {
    if (!(error instanceof ChainError)) throw error;
    if (error.again) {
      status.failed(error);
    } else {
      notice(error.message, error);
      refused();
      rest();
    }
  }

  return { refresh, rest, stale, answered, explain };
}
