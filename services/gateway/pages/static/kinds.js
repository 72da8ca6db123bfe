// The kinds of noise to choose from, each with a small picture of what it does to the digit at the level that is set.

import { addNoise } from "./noise.js";
import { blank, paint } from "./picture.js";

const list = document.getElementById("kinds");
const choices = () => [...list.querySelectorAll("input")];

/** `onChoice()` is called whenever a visitor takes another kind. */
export function createKinds(onChoice) {
  list.addEventListener("change", ({ target }) => {
    reveal(target);
    onChoice();
  });
  reveal(chosen());
  return {
    chosen: () => chosen().value,
    title: () => chosen().labels[0].textContent,
    /** Every kind at this level; nothing while there is no digit. */
    show: (clean, level, seed) => {
      for (const { value, labels } of choices()) {
        const canvas = labels[0].querySelector("canvas");
        if (clean) paint(canvas, addNoise(clean, value, level, seed));
        else blank(canvas);
      }
    },
  };
}

const chosen = () => choices().find((choice) => choice.checked);

/** On a narrow screen the list scrolls sideways, on its own: the page itself stays where it is. */
function reveal(choice) {
  const { offsetLeft, offsetWidth } = choice.labels[0];
  const middle = offsetLeft + offsetWidth / 2 - list.clientWidth / 2;
  list.scrollLeft = middle;
}
