// The current request as a shell command that gives the same answer, and its way to the clipboard.

const COPIED_MS = 1600;

/** `png` is the picture as a data URL; it travels inside the JSON body, so the command needs no file. */
export function curlCommand(url, png, { withKey = false } = {}) {
  const images = JSON.stringify({ images: [png.slice(png.indexOf(",") + 1)] });
  const lines = [`curl -sS '${url}'`, `  -H 'Content-Type: application/json'`, `  -d '${images}'`];
  return joined(lines, withKey);
}

/** The same with a picture in a file, by the name it has here. */
export function curlWithFile(url, file, { withKey = false } = {}) {
  const name = (file.name ?? `picture.${file.type.split("/").pop()}`).replaceAll("'", `'\\''`);
  const lines = [`curl -sS '${url}'`, `  -H 'Content-Type: ${file.type}'`, `  --data-binary '@${name}'`];
  return joined(lines, withKey);
}

function joined(lines, withKey) {
  if (withKey) lines.splice(1, 0, `  -H "X-API-Key: $API_KEY"`);
  return lines.join(" \\\n");
}

/** Browsers keep the clipboard from pages that came over plain HTTP, or may not: then the command is selected. */
export async function copyFrom(command, button) {
  try {
    await navigator.clipboard.writeText(command.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(command);
    button.textContent = "Selected";
  }
  setTimeout(() => {
    button.textContent = "Copy";
  }, COPIED_MS);
}
