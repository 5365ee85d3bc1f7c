// The page of a conversation in the inbox: replies and notes are sent without leaving it, Ctrl+Enter sends, and the page
// begins where the conversation has got to.

const page = document.querySelector("[data-live]");
const TOKEN = "input[name=csrfmiddlewaretoken]";
const SIGNED_OUT = "You are signed out. Your words stay here: sign in again in another window, then press Send once more.";
const REFUSED = "you may not answer here any more, or the server has a fault. Copy your words and load the page again.";

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

function post(form) {
  return fetch(form.action, {
    method: "POST",
    body: new FormData(form),
    headers: { Accept: "application/json" },
    redirect: "manual",
    signal: AbortSignal.timeout(20_000),
  });
}

// Who has signed in again in another window has another token than the forms of this page. Resolves to whether there is
// one.
async function renewTokens() {
  const answer = await fetch(location.href, { redirect: "manual", signal: AbortSignal.timeout(20_000) });
  if (answer.type === "opaqueredirect") throw new Error(SIGNED_OUT);
  if (!answer.ok) return false;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector(TOKEN);
  for (const field of document.querySelectorAll(TOKEN)) field.value = fresh?.value ?? field.value;
  return fresh !== null;
}

async function send(form) {
  const button = form.querySelector("button[type=submit]");
  const problem = form.querySelector("[data-problem]");
  if (button.disabled) return;
  button.disabled = true;
  problem.textContent = "";
  try {
    let answer = await post(form);
    if (answer.status === 403 && (await renewTokens())) answer = await post(form);
    if (answer.type === "opaqueredirect") throw new Error(SIGNED_OUT);
    if (!answer.headers.get("Content-Type")?.includes("json")) throw new Error(`Not sent (status ${answer.status}): ${REFUSED}`);
    const body = await answer.json();
    if (body.key) form.elements.key.value = body.key;
    if (!answer.ok) throw new Error(body.detail);
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

page?.addEventListener("bs-signed-in", () => renewTokens().catch(() => {})); // else the next press does
