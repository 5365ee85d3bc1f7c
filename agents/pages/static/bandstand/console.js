// Small comforts of the console's own pages: what is shown once can be copied.

for (const field of document.querySelectorAll("[data-select]")) {
  field.addEventListener("focus", () => field.select());
}

for (const button of document.querySelectorAll("[data-copy]")) {
  const words = button.textContent;
  button.addEventListener("click", async () => {
    const field = document.getElementById(button.dataset.copy);
    field.select();
    try {
      await navigator.clipboard.writeText(field.value);
      button.textContent = "Copied";
    } catch {
      // Not over plain HTTP: the text is selected, the keyboard copies it.
      button.textContent = "Press Ctrl+C";
    }
    setTimeout(() => (button.textContent = words), 3000);
  });
}
