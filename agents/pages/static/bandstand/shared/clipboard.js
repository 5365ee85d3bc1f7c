// Copy to the clipboard, and say on the button that it was done.

const SAID_FOR_MS = 2000;

export async function copy(text, button) {
  const label = button.querySelector("span") ?? button;
  const original = label.dataset.label ?? label.textContent;
  label.dataset.label = original;
  label.textContent = (await toClipboard(text)) ? "Copied" : "Not copied";
  clearTimeout(button.saidTimer);
  button.saidTimer = setTimeout(() => (label.textContent = original), SAID_FOR_MS);
}

async function toClipboard(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return selectAndCopy(text);
  }
}

// The clipboard proper exists only on secure origins; a first run is often plain HTTP on a local address.
function selectAndCopy(text) {
  const focused = document.activeElement;
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "visually-hidden";
  field.setAttribute("aria-hidden", "true");
  // What is selected would be copied without the end of its last line.
  field.addEventListener("copy", (event) => {
    event.clipboardData.setData("text/plain", text);
    event.preventDefault();
  });
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  focused?.focus();
  return done;
}
