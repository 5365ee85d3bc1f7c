// Keys that work anywhere on the page. The dialog of `chat.html` lists them.

// `actions`: {escape, fresh, search, help, compose}. Each but `escape` takes the key for itself.
export function listen(actions) {
  addEventListener("keydown", (event) => {
    if (event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.key === "Escape") {
      if (event.shiftKey) actions.compose();
      else actions.escape();
      return;
    }
    const action = actionFor(event);
    if (!action) return;
    event.preventDefault();
    actions[action]();
  });
}

function actionFor({ key, code, ctrlKey, metaKey, shiftKey, altKey, target }) {
  const command = (ctrlKey || metaKey) && !altKey;
  if (command && !shiftKey && key.toLowerCase() === "k") return "search";
  if (command && shiftKey && code === "KeyO") return "fresh";
  if (command && key === "/") return "help";
  if (key === "?" && !command && !target.closest("input, textarea")) return "help";
  return null;
}
