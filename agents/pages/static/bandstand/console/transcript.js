// The open page of a session in the console: asks each second what has changed, and replaces the turns that did. On the
// page of the inbox also the parts of it (`data-part`) that the answer has.

import { morph } from "../shared/morph.js";

const livePage = document.querySelector("[data-live]");
if (livePage) follow(livePage);

function follow(page) {
  const turns = page.querySelector(".bs-transcript__turns");
  const events = page.querySelector(".bs-transcript__events");
  const pulse = page.querySelector(".bs-transcript__pulse");
  const rendered = new Map();
  let seq = Number(page.dataset.seq);
  let failures = 0;

  async function ask() {
    const address = new URL(page.dataset.live, location.href);
    address.searchParams.set("after", String(seq));
    if ("note" in page.dataset) address.searchParams.set("note", page.dataset.note);
    if ("parts" in page.dataset) address.searchParams.set("parts", page.dataset.parts);
    // A login that ended answers with a redirect, which must not be taken for an answer.
    const answer = await fetch(address, { redirect: "manual", headers: { Accept: "application/json" } });
    if (answer.type === "opaqueredirect" || answer.status === 401) return say("signed out", true);
    if ([403, 404].includes(answer.status)) return say("deleted, or no longer allowed", true);
    if (answer.status === 409) {
      // Not under the hands of somebody who writes: the words would be gone.
      if ([...page.querySelectorAll("textarea")].some((field) => field.value.trim())) return say("too much is new: load the page again", false);
      return location.reload();
    }
    if (answer.status === 200) show(await answer.json());
    else if (answer.status !== 204) throw new Error(`status ${answer.status}`);
    if (failures === Infinity) page.dispatchEvent(new Event("bs-signed-in"));
    failures = 0;
    say("live", false);
    return undefined;
  }

  function show(change) {
    const atEnd = rest() <= 80;
    for (const block of change.blocks ?? []) put(block);
    for (const [name, html] of Object.entries(change.parts ?? {})) putPart(name, html);
    if (change.note) page.dataset.note = change.note;
    if (change.version) page.dataset.parts = change.version;
    if (change.seq === undefined) return;
    for (const fact of page.querySelectorAll("[data-fact]")) fact.textContent = change.facts[fact.dataset.fact] ?? fact.textContent;
    if (events) events.innerHTML = change.events;
    seq = change.seq;
    if (atEnd && "follows" in page.dataset) scrollBy({ top: rest() });
  }

  // How much of the page, or of the conversation behind the reply box, is still below.
  function rest() {
    const box = page.querySelector(".bs-reply");
    const last = turns.lastElementChild;
    if (box && last) return last.getBoundingClientRect().bottom - box.getBoundingClientRect().top + 16;
    return document.documentElement.scrollHeight - innerHeight - scrollY;
  }

  function put(block) {
    if (rendered.get(block.key) === block.html) return;
    rendered.set(block.key, block.html);
    const old = document.getElementById(block.key);
    if (!old && !("follows" in page.dataset)) return;
    const template = document.createElement("template");
    template.innerHTML = block.html.trim();
    const fresh = template.content.firstElementChild;
    if (!old) {
      turns.querySelector(".bs-transcript__none")?.remove();
      const next = [...turns.children].find((other) => Number(other.dataset.ordinal) > block.ordinal);
      turns.insertBefore(fresh, next ?? null);
      return;
    }
    if (old.contains(document.activeElement) && document.activeElement.matches("button")) {
      // Somebody is about to press it; the next second shows the change.
      rendered.delete(block.key);
      return;
    }
    for (const part of fresh.querySelectorAll("details[data-key]")) {
      const previous = old.querySelector(`details[data-key="${CSS.escape(part.dataset.key)}"]`);
      if (previous) part.open = previous.open;
    }
    old.replaceWith(fresh);
  }

  function putPart(name, html) {
    const template = document.createElement("template");
    template.innerHTML = html;
    for (const part of page.querySelectorAll(`[data-part="${name}"]`)) {
      for (const details of template.content.querySelectorAll("details[data-key]")) {
        details.open = part.querySelector(`details[data-key="${CSS.escape(details.dataset.key)}"]`)?.open ?? false;
      }
      morph(part, template.content);
    }
  }

  function say(words, final) {
    if (pulse.textContent === words) return;
    pulse.textContent = words;
    pulse.classList.toggle("bs-transcript__pulse--off", final || failures > 0);
    if (final) failures = Infinity;
  }

  let timer = 0;
  let asking = false;

  async function go() {
    if (asking) return;
    clearTimeout(timer);
    asking = true;
    try {
      if (!document.hidden) await ask();
    } catch {
      failures += 1;
      say("not reached; trying again", false);
    }
    asking = false;
    if (failures !== Infinity) timer = setTimeout(go, Math.min(1000 * 2 ** failures, 15000));
  }

  // Whoever has just written wants to see it now.
  page.addEventListener("bs-refresh", go);
  // Somebody may have signed in again in another window.
  addEventListener("focus", () => failures === Infinity && go());
  if ("beginAtEnd" in page.dataset && !location.hash) addEventListener("load", () => scrollBy({ top: rest() }), { once: true });
  timer = setTimeout(go, 1000);
}
