// The lists of the inbox: ask for themselves each five seconds while their tab is seen. Only rows that differ change, so
// that the focus and the place on the page stay.

import { morph } from "../shared/morph.js";

const INTERVAL = 5_000;
const PARTS = ["#result_list", ".bs-empty", ".bs-pages", "[data-inbox-live]"];

async function refresh() {
  const answer = await fetch(location.href, { redirect: "error", signal: AbortSignal.timeout(INTERVAL) });
  if (!answer.ok) return;
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const selector of PARTS) {
    const [old, fresh] = [document.querySelector(selector), page.querySelector(selector)];
    if (old && fresh) morph(old, fresh);
    // From rows to none, or from none to rows; not while somebody types.
    else if ((old || fresh) && !document.activeElement?.matches("input, select, textarea")) location.reload();
  }
}

async function go() {
  try {
    if (!document.hidden) await refresh();
  } catch {
    // The next time, perhaps.
  }
  setTimeout(go, INTERVAL);
}

if (document.querySelector("[data-inbox]")) setTimeout(go, INTERVAL);
