// A picture as a file, however it comes: chosen, pasted or dropped anywhere on the page.

/** `take(file)` is called with the first file each time; `place` shows that something may be dropped. */
export function onFile(take, { input, place }) {
  const takeFirst = ({ files }) => {
    if (files.length) take(files[0]);
  };
  input.addEventListener("change", () => {
    takeFirst(input);
    input.value = ""; // the same file may be chosen again
  });
  document.addEventListener("paste", ({ clipboardData }) => takeFirst(clipboardData));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    place.dataset.over = "true";
  });
  document.addEventListener("dragleave", () => delete place.dataset.over);
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    delete place.dataset.over;
    takeFirst(event.dataTransfer);
  });
}
