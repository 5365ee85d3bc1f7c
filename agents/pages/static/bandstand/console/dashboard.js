// The live part of a page: asks for it each ten seconds while its tab is seen, and changes only what differs, so that the
// focus, the place on the page and what is open stay.

import { morph } from "../shared/morph.js";

const INTERVAL = 10_000;
const LONGEST_INTERVAL = 60_000;

const live = document.querySelector("[data-refresh]");
if (live) follow(live);

function follow(part) {
  let failures = 0;
  let timer = 0;
  let asking = false;

  async function refresh() {
    // A login that ended answers with a redirect, which must not be taken for an answer.
    const answer = await fetch(part.dataset.refresh, { redirect: "manual", signal: AbortSignal.timeout(INTERVAL) });
    if (answer.type === "opaqueredirect" || [401, 403, 404].includes(answer.status)) return false;
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(await answer.text());
    return true;
  }

  function show(html) {
    const fresh = document.createElement("template");
    fresh.innerHTML = html;
    for (const details of fresh.content.querySelectorAll("details[data-key]")) {
      const old = part.querySelector(`details[data-key="${CSS.escape(details.dataset.key)}"]`);
      details.open = old?.open ?? false;
    }
    morph(part, fresh.content);
  }

  function say(words) {
    const pulse = part.querySelector("[data-pulse]");
    if (pulse && pulse.textContent !== words) pulse.textContent = words;
  }

  async function go() {
    clearTimeout(timer);
    if (document.hidden || asking) return;
    asking = true;
    try {
      if (!(await refresh())) {
        document.removeEventListener("visibilitychange", go);
        return say("No longer live: you are signed out, or may not see this any more. Load the page again.");
      }
      failures = 0;
    } catch {
      failures += 1;
      say("Not live: the server does not answer. Trying again.");
    } finally {
      asking = false;
    }
    timer = setTimeout(go, Math.min(INTERVAL * 2 ** failures, LONGEST_INTERVAL));
    return undefined;
  }

  document.addEventListener("visibilitychange", go);
  timer = setTimeout(go, INTERVAL);
}
