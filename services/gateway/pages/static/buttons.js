// Buttons that switch off without losing the keyboard's focus, which `disabled` itself would take away.

const button = (id) => document.getElementById(id);

/** Said to assistive technology, shown by the style sheet. */
export function enable(id, on) {
  button(id).ariaDisabled = String(!on);
}

/** `action` on a click or a key press, unless the button is switched off. */
export function onClick(id, action) {
  button(id).addEventListener("click", () => {
    if (button(id).ariaDisabled !== "true") action();
  });
}
