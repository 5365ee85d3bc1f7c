// The list of chats: newest first, with a search over titles and words.

import * as api from "./api.js";
import { element, icon, setText } from "./dom.js";

const SEARCH_AFTER_MS = 200;
const FRESH_FOR_MS = 3000;

export const titleOf = (session) => session.title || "New chat";

export class Sidebar {
  // `menu(button, session)` opens the menu of one chat; `failed(error, words)` says why something did not work.
  constructor({ list, more, none, search, menu, failed }) {
    Object.assign(this, { list, more, none, search, menu, failed });
    this.sessions = [];
    this.next = null;
    this.openId = null;
    this.round = 0;
    this.readAt = 0;
    this.lines = new Map();
    more.addEventListener("click", () => this.#loadMore());
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

  // Read the first page anew.
  async load() {
    const round = ++this.round;
    const page = await api.listSessions({ search: this.words });
    if (round !== this.round) return;
    this.readAt = performance.now();
    this.sessions = page.results;
    this.next = page.next;
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
    return this.sessions.find((session) => session.id === id) ?? null;
  }

  // Put a session where it is in the list, or at the top.
  put(session, { first = false } = {}) {
    const index = this.sessions.findIndex((known) => known.id === session.id);
    if (index >= 0) this.sessions.splice(index, 1);
    else if (this.words) return; // it may not be among what is searched for
    this.sessions.splice(first || index < 0 ? 0 : index, 0, session);
    this.draw();
  }

  drop(id) {
    this.sessions = this.sessions.filter((session) => session.id !== id);
    this.draw();
  }

  draw() {
    for (const [id, line] of this.lines) if (!this.find(id)) this.lines.delete(id) && line.remove();
    let place = this.list.firstChild;
    for (const session of this.sessions) {
      const line = this.#line(session);
      if (line === place) place = place.nextSibling;
      else this.list.insertBefore(line, place);
    }
    this.none.hidden = this.sessions.length > 0;
    setText(this.none, this.words ? "No chat has these words." : "Nothing here yet.");
    this.more.hidden = !this.next;
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
    const { round } = this;
    this.more.disabled = true;
    try {
      const page = await api.listSessions({ next: this.next });
      if (round === this.round) {
        this.sessions.push(...page.results.filter((session) => !this.find(session.id)));
        this.next = page.next;
        this.draw();
      }
    } catch (error) {
      this.failed(error, "More chats could not be loaded.");
    }
    this.more.disabled = false;
  }
}
