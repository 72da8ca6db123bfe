// Runs work for the newest input only: gathers changes for a moment, one run at a time, one waiting at most.

const SHORTEST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 300;

/**
 * `work({ isLate, isNewest })` does the job for the input as it is when it starts, and asks `isLate()` before it shows
 * anything; `isNewest()` tells whether nothing changed since.
 * The pause grows with the length of the last run, so on a slow line answers still come during drawing.
 */
export function latestOnly(work) {
  let timer;
  let running = false;
  let waiting = false;
  let pauseMs = SHORTEST_PAUSE_MS;

  async function run() {
    timer = undefined;
    if (running) {
      waiting = true;
      return;
    }
    running = true;
    const started = performance.now();
    try {
      await work({ isLate: () => waiting, isNewest: () => !waiting && timer === undefined });
    } finally {
      pauseMs = Math.min(LONGEST_PAUSE_MS, Math.max(SHORTEST_PAUSE_MS, 1.2 * (performance.now() - started)));
      running = false;
      if (waiting) {
        waiting = false;
        run();
      }
    }
  }

  return () => {
    timer ??= setTimeout(run, pauseMs);
  };
}
