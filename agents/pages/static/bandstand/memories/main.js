// The page of what is remembered of its user: read, search, correct, add, forget.

import { ask } from "../shared/dialogs.js";
import { setText } from "../shared/dom.js";
import * as api from "./api.js";
import { memoryItem } from "./memory-item.js";

const byId = (id) => document.getElementById(id);
const SEARCH_AFTER_MS = 250;

// `request` counts what was asked for, so that an answer that was overtaken is not shown.
const state = { tier: "long_term", query: "", history: false, next: null, request: 0, timer: null };

const HANDLERS = { revise, forget };
const NOTHING = {
  long_term: "No facts are remembered. Tell an agent “remember that …”, or add one here.",
  episodic: "Nothing of your chats is remembered.",
};

function say(text) {
  setText(byId("status"), text);
}

function failed(error, words) {
  const notice = byId("problem");
  setText(notice, error.signedOut ? "You are signed out. Load this page again to sign in." : `${words} ${error.message}`);
  notice.hidden = false;
}

async function attempt(words, work) {
  byId("problem").hidden = true;
  try {
    await work();
    return true;
  } catch (error) {
    failed(error, words);
    return false;
  }
}

async function load({ more = false } = {}) {
  const request = ++state.request;
  const { tier, query, history } = state;
  await attempt("The memories could not be loaded.", async () => {
    const page = query
      ? { results: await api.searchMemories(query, tier), next: null }
      : await api.listMemories({ tier, history, next: more ? state.next : null });
    if (request !== state.request) return;
    state.next = page.next;
    const items = page.results.map((memory) => memoryItem(memory, HANDLERS));
    const list = byId("memories");
    if (more) {
      list.append(...items);
      items[0]?.querySelector("button")?.focus();
    } else list.replaceChildren(...items);
    byId("more").hidden = !page.next;
    draw();
    if (query) say(`${items.length} found.`);
  });
}

function draw() {
  const none = byId("none");
  none.hidden = byId("memories").childElementCount > 0;
  setText(none, state.query ? "Nothing like it is remembered." : NOTHING[state.tier]);
  for (const tab of document.querySelectorAll("[data-tier]")) tab.setAttribute("aria-pressed", String(tab.dataset.tier === state.tier));
  byId("history").disabled = state.query !== "";
}

const itemOf = ({ id }) => document.querySelector(`[data-id="${id}"]`);

// The corrected memory takes the place of the old one, so that nothing else moves, and what was loaded stays.
async function revise(memory, text) {
  let fresh;
  const done = await attempt("It could not be corrected.", async () => {
    fresh = await api.reviseMemory(memory, text);
  });
  if (!done) return;
  if (state.history) await load(); // It has two rows then: what holds now, and what did.
  else {
    itemOf(fresh)?.remove(); // It was known already.
    itemOf(memory)?.replaceWith(memoryItem(fresh, HANDLERS));
  }
  itemOf(fresh)?.querySelector("button").focus();
  say("Corrected.");
}

async function forget(memory) {
  setText(byId("forget-text"), memory.text.length > 200 ? `${memory.text.slice(0, 200)}…` : memory.text);
  if (!(await ask(byId("forget-dialog")))) return;
  if (!(await attempt("It could not be forgotten.", () => api.deleteMemory(memory)))) return;
  const item = itemOf(memory);
  const neighbour = item?.nextElementSibling ?? item?.previousElementSibling;
  item?.remove();
  (neighbour?.querySelector("button") ?? byId("text")).focus();
  draw();
  say("Forgotten.");
}

async function add(event) {
  event.preventDefault();
  const field = byId("text");
  const text = field.value.trim();
  if (!text) return;
  if (!(await attempt("It could not be added.", () => api.addMemory(text)))) return;
  field.value = "";
  Object.assign(state, { tier: "long_term", query: "" });
  byId("search").value = "";
  await load();
  say("Added.");
}

async function forgetAll() {
  if (!(await ask(byId("all-dialog")))) return;
  await attempt("Not everything could be forgotten.", async () => {
    say(`${await api.deleteAll()} memories are forgotten.`);
  });
  await load();
}

byId("add").addEventListener("submit", add);
byId("more").addEventListener("click", () => load({ more: true }));
byId("forget-all").addEventListener("click", forgetAll);
byId("export").href = api.EXPORT;
byId("history").addEventListener("change", (event) => {
  state.history = event.target.checked;
  load();
});
for (const tab of document.querySelectorAll("[data-tier]")) {
  tab.addEventListener("click", () => {
    state.tier = tab.dataset.tier;
    load();
  });
}
byId("search").addEventListener("input", (event) => {
  clearTimeout(state.timer);
  state.timer = setTimeout(() => {
    state.query = event.target.value.trim();
    load();
  }, SEARCH_AFTER_MS);
});

draw();
load();
