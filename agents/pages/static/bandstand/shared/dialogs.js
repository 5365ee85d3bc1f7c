// Questions to the person, as native dialogs: they keep the focus and give it back.

// Show `dialog`; resolves to whether it was confirmed.
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
}
