// The list of chats: the one that was spoken in last comes first, with a search over titles and words.

import { arrange, element, icon, setText } from "../shared/dom.js";
import * as api from "./api.js";
import { dateHeading } from "./date-headings.js";

const SEARCH_AFTER_MS = 200;
const FRESH_FOR_MS = 3000;
const MORE_WITHIN = "400px"; // older chats are read when the end of the list is so near

export const titleOf = (session) => session.title || "New chat";

export class Sidebar {
  // `menu(button, session)` opens the menu of one chat; `failed(error, words)` says why something did not work.
  constructor({ list, more, none, search, menu, failed }) {
    Object.assign(this, { list, more, none, search, menu, failed });
    this.sessions = new Map();
    this.next = null;
    this.openId = null;
    this.round = 0;
    this.readAt = 0;
    this.lines = new Map();
    this.groups = new Map();
    more.addEventListener("click", () => this.#loadMore());
    const nearTheEnd = ([{ isIntersecting }]) => isIntersecting && this.#loadMore();
    new IntersectionObserver(nearTheEnd, { root: more.parentElement, rootMargin: MORE_WITHIN }).observe(more);
    search.addEventListener("input", () => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.load().catch((error) => failed(error, "The search failed.")), SEARCH_AFTER_MS);
    });
    search.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !search.value) return;
      event.stopPropagation();
      this.clearSearch();
    });
    addEventListener("focus", () => this.refresh());
  }

  // Read the first page anew. What was read of later ones stays.
  async load() {
    const round = ++this.round;
    const { words } = this;
    const page = await api.listSessions({ search: words });
    if (round !== this.round) return;
    const last = page.next && page.results.at(-1).updated_at;
    const older = last && words === this.readWords ? this.#sorted().filter(({ updated_at: at }) => at < last) : [];
    this.next = older.length ? this.next : page.next;
    this.sessions = new Map([...page.results, ...older].map((session) => [session.id, session]));
    this.readAt = performance.now();
    this.readWords = words;
    this.draw();
  }

  // Other tabs and devices begin chats, too.
  refresh() {
    if (performance.now() - this.readAt > FRESH_FOR_MS) this.load().catch(() => {});
  }

  get words() {
    return this.search.value.trim();
  }

  clearSearch() {
    this.search.value = "";
    this.load().catch((error) => this.failed(error, "The list of chats could not be loaded."));
  }

  find(id) {
    return this.sessions.get(id) ?? null;
  }

  // Take over what is new of a session. One that is not on the list may not be among what is searched for.
  put(session) {
    const current = this.find(session.id);
    if (!current && this.words) return;
    this.sessions.set(session.id, { updated_at: session.created_at, ...current, ...session });
    this.draw();
  }

  // Somebody speaks in a session: it comes first, whatever the clock of this machine says.
  spokenIn(session) {
    const newest = this.#sorted()[0];
    const at = Math.max(Date.now(), newest ? Date.parse(newest.updated_at) + 1 : 0);
    this.put({ ...session, updated_at: new Date(at).toISOString() });
  }

  drop(id) {
    this.sessions.delete(id);
    this.draw();
  }

  draw() {
    for (const id of this.lines.keys()) if (!this.sessions.has(id)) this.lines.delete(id);
    const lines = new Map();
    for (const session of this.#sorted()) {
      const heading = dateHeading(new Date(session.updated_at));
      if (!lines.has(heading)) lines.set(heading, []);
      lines.get(heading).push(this.#line(session));
    }
    arrange(this.list, [...lines.keys()].map((heading) => this.#group(heading).node));
    for (const [heading, items] of lines) arrange(this.#group(heading).list, items);
    this.none.hidden = this.sessions.size > 0;
    setText(this.none, this.words ? "No chat has these words." : "Nothing here yet.");
    this.more.hidden = !this.next;
  }

  #sorted() {
    return [...this.sessions.values()].sort((a, b) => (a.updated_at < b.updated_at ? 1 : -1));
  }

  #group(heading) {
    if (!this.groups.has(heading)) {
      const list = element("ul", {});
      this.groups.set(heading, { list, node: element("section", {}, element("h3", {}, heading), list) });
    }
    return this.groups.get(heading);
  }

  #line(session) {
    if (!this.lines.has(session.id)) this.lines.set(session.id, this.#newLine(session.id));
    const line = this.lines.get(session.id);
    const [link, button] = line.children;
    setText(link, titleOf(session));
    link.title = titleOf(session);
    button.setAttribute("aria-label", `Actions for ${titleOf(session)}`);
    if (session.id === this.openId) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
    return line;
  }

  #newLine(id) {
    const button = element("button", { type: "button", class: "quiet quiet--icon", "aria-expanded": "false", "aria-controls": "chat-menu" }, icon("more"));
    button.addEventListener("click", () => this.menu(button, this.find(id)));
    return element("li", {}, element("a", { href: `#${id}`, dir: "auto" }), button);
  }

  async #loadMore() {
    const { round, next } = this;
    if (!next || this.reading === next) return;
    this.reading = next;
    try {
      const page = await api.listSessions({ next });
      if (round === this.round) {
        for (const session of page.results) if (!this.find(session.id)) this.sessions.set(session.id, session);
        this.next = page.next;
        this.draw();
      }
    } catch (error) {
      this.failed(error, "More chats could not be loaded.");
    }
    this.reading = null;
  }
}
