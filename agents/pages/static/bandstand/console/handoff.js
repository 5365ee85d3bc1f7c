// The page of a conversation in the inbox: replies and notes are sent without leaving it, Ctrl+Enter sends, and the page
// begins where the conversation has got to.

const RESCUE = "Copy your words, and load the page again.";
const page = document.querySelector("[data-live]");

document.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
  const form = event.target.closest("[data-submit-key]")?.form;
  if (!form) return;
  event.preventDefault();
  form.requestSubmit();
});

for (const form of document.querySelectorAll("form[data-send]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(form);
  });
}

async function send(form) {
  const button = form.querySelector("button[type=submit]");
  const problem = form.querySelector("[data-problem]");
  if (button.disabled) return;
  button.disabled = true;
  problem.textContent = "";
  try {
    const answer = await fetch(form.action, {
      method: "POST",
      body: new FormData(form),
      headers: { Accept: "application/json" },
      redirect: "manual",
      signal: AbortSignal.timeout(20_000),
    });
    if (answer.type === "opaqueredirect") throw new Error(`Not sent: you are signed out, or this is gone. ${RESCUE}`);
    // A page says that one may not, or that the form is of a login before.
    const body = await answer.json().catch(() => ({}));
    // A note has none.
    if (body.key && form.elements.key) form.elements.key.value = body.key;
    if (!answer.ok) throw new Error(body.detail ?? `Not sent: this page may not send any more. ${RESCUE}`);
    form.reset();
    page.dispatchEvent(new Event("bs-refresh"));
  } catch (error) {
    // The key stays: what was stored nevertheless is not stored again.
    problem.textContent = error instanceof TypeError || error.name === "TimeoutError" ? "Not sent: the server does not answer. Try again." : error.message;
  } finally {
    button.disabled = false;
    form.elements.text.focus();
  }
}

if (page && "beginAtEnd" in page.dataset && !location.hash) {
  const end = page.querySelector(".bs-reply") ?? page.querySelector(".bs-case__conversation");
  addEventListener("load", () => end.scrollIntoView({ block: "end" }), { once: true });
}
