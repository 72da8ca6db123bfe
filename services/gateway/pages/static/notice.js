// The box at the bottom of a page: what went wrong, and the place for an API key where one is asked for.

import { apiKey } from "./chain.js";

const element = (id) => document.getElementById(id);

/** Show a sentence, with the service's own words below it; null hides the box. */
export function notice(sentence, { needsKey = false, detail = "" } = {}) {
  element("notice").hidden = !sentence;
  element("notice-text").textContent = sentence ?? "";
  element("notice-detail").textContent = detail;
  element("key-form").hidden = !needsKey;
}

/** `action` once the visitor has given a key. */
export function onKey(action) {
  element("key-form").addEventListener("submit", (event) => {
    event.preventDefault();
    apiKey.set(element("key").value);
    notice(null);
    action();
  });
}
