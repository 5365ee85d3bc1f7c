// A text of the model on the page. While it is written, the part that the server has rendered stands first and the newest
// words follow as plain text; they are replaced by their rendering without a jump. A finished text is rendered once.

import { element, icon } from "../shared/dom.js";
import { morph } from "../shared/morph.js";
import { highlight } from "./highlight.js";

const RENDER_EVERY_MS = 120;
const REST_FACTOR = 3; // of the time between two renderings, a quarter is spent on them
const HOLD_BACK_MS = 200; // so that a short answer does not show its raw marks first
const SECTION_LENGTH = 400;

const END_OF_CODE = /(^|\n) {0,3}(```|~~~)/;
const END_OF_BLOCK = /\n\s*(\n|[|#>*+`~-]|\d+[.)]|$)/;

export class MarkdownView {
  constructor(renderer) {
    this.renderer = renderer;
    this.node = element("div", { class: "md", "data-kind": "text" });
    this.#reset();
  }

  // `html` is the server's rendering of `text`, if it is known. `live`: more text follows.
  update(text, { html = null, live = false } = {}) {
    if (html === null && text === this.text && live === this.live) return;
    if (!text.startsWith(this.text)) this.#reset();
    this.text = text;
    this.live = live;
    if (html !== null) {
      this.#finish(text, html);
    } else if (this.finished !== text) {
      this.finished = null;
      this.#holdBack();
      this.#drawTail();
      this.#ask();
    }
  }

  #reset() {
    this.text = "";
    this.live = false;
    this.finished = null;
    this.stable = 0; // how much of the text stands in sections that are not rendered again
    this.shown = 0; // how much of the text is rendered at all
    this.nextAt = 0;
    this.asking = false;
    this.inCode = false; // whether the words go on inside of a block of code
    this.failed = false; // whether the last rendering did not come
    this.round = (this.round ?? 0) + 1;
    clearTimeout(this.timer);
    this.timer = null;
    this.tail = element("span", { class: "md__tail" });
    this.section = element("div", { class: "md__section" }, this.tail);
    this.node.replaceChildren(this.section);
  }

  #holdBack() {
    if (this.shown || this.holding) return;
    this.node.classList.add("md--held");
    this.holding = setTimeout(() => this.node.classList.remove("md--held"), HOLD_BACK_MS);
  }

  #drawTail() {
    const rest = this.#rest;
    if (this.tail.textContent === rest) return;
    this.tail.textContent = rest;
    if (!this.tail.isConnected) lastBlock(this.section).append(this.tail);
  }

  // The words after what is rendered, up to where another block begins: that one comes with its rendering, a moment later,
  // and so without raw marks and lines that a rendering takes away again.
  get #rest() {
    const rest = this.text.slice(this.shown);
    if (this.failed) return rest;
    const end = rest.search(this.inCode ? END_OF_CODE : END_OF_BLOCK);
    const near = end < 0 ? rest : rest.slice(0, end);
    return near.trim() ? near : "";
  }

  #ask() {
    if (this.asking || this.timer) return;
    const wait = this.live ? Math.max(0, this.nextAt - performance.now()) : 0;
    this.timer = setTimeout(() => {
      this.timer = null;
      this.#render();
    }, wait);
  }

  async #render() {
    const { round, text, live } = this;
    const began = performance.now();
    this.asking = true;
    try {
      if (live) await this.#renderRest(round, text);
      else if (text) this.#finishIf(round, text, await this.renderer.html(text));
    } catch {
      // It stays as it is: plain words are better than none.
      if (round === this.round && this.finished === null) {
        this.failed = true;
        this.#drawTail();
        if (!live) this.finished = text;
      }
    }
    if (round !== this.round) return;
    this.asking = false;
    this.nextAt = performance.now() + Math.max(RENDER_EVERY_MS, REST_FACTOR * (performance.now() - began));
    this.node.classList.remove("md--held");
    if (this.finished !== this.text && (this.text !== text || this.live !== live)) this.#ask();
  }

  async #renderRest(round, text) {
    const rest = text.slice(this.stable);
    const cut = boundary(rest);
    const settled = cut ? await this.renderer.html(rest.slice(0, cut)) : null;
    const current = await this.renderer.html(rest.slice(cut));
    if (round !== this.round || this.finished !== null) return;
    if (settled !== null) {
      morph(this.section, fragmentOf(settled));
      this.section = element("div", { class: "md__section" });
      this.node.append(this.section);
      this.stable += cut;
    }
    const fresh = fragmentOf(current);
    const place = lastBlock(fresh);
    // Outside of code a rendering drops the space at the end, which the next word needs.
    this.inCode = Boolean(place.closest?.("pre"));
    this.shown = this.inCode ? text.length : text.trimEnd().length;
    this.failed = false;
    place.append(element("span", { class: "md__tail" }, this.#rest));
    morph(this.section, fresh);
    this.tail = this.section.querySelector(".md__tail");
  }

  #finishIf(round, text, html) {
    if (round === this.round && text === this.text && !this.live) this.#finish(text, html);
  }

  #finish(text, html) {
    clearTimeout(this.timer);
    this.timer = null;
    this.node.classList.remove("md--held");
    if (this.finished === text) return;
    this.finished = text;
    this.shown = text.length;
    // The sections were only for the writing; taking them away moves nothing.
    const whole = element("div", { class: "md__section" });
    whole.append(...[...this.node.children].flatMap((section) => [...section.childNodes]));
    this.node.replaceChildren(whole);
    morph(whole, fragmentOf(html));
    this.section = whole;
  }
}

// Where the last paragraph or heading begins that no later text can make part of what stands before it; 0: not yet.
export function boundary(text) {
  let fence = null;
  let blank = false;
  let at = 0;
  let cut = 0;
  for (const line of text.split("\n")) {
    const mark = /^ {0,3}(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence) {
      if (mark?.startsWith(fence)) fence = null;
    } else if (mark) {
      fence = mark;
    } else if (blank && /^[\p{L}#]/u.test(line)) {
      cut = at;
    }
    blank = !line.trim();
    at += line.length + 1;
  }
  return cut >= SECTION_LENGTH ? cut : 0;
}

// The server's HTML as nodes, with a bar and colours on code, and tables that scroll on their own. Nothing in it runs: the parser of a
// template is inert, and the server lets neither scripts nor attributes of events through.
function fragmentOf(html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  for (const pre of template.content.querySelectorAll("pre:not(.math)")) wrapCode(pre);
  for (const table of template.content.querySelectorAll("table")) wrapTable(table);
  return template.content;
}

function wrapCode(pre) {
  const code = pre.querySelector("code");
  const language = /language-(\S+)/.exec(code?.className ?? "")?.[1] ?? "";
  if (language) highlight(code, language);
  const bar = element(
    "div",
    { class: "code__bar" },
    element("span", { class: "code__language" }, language || "text"),
    element("button", { type: "button", class: "quiet", "data-copy": "code" }, icon("copy"), element("span", {}, "Copy")),
  );
  const box = element("div", { class: "code" }, bar);
  pre.replaceWith(box);
  pre.setAttribute("tabindex", "0");
  pre.setAttribute("role", "region");
  pre.setAttribute("aria-label", language ? `Code in ${language}` : "Code");
  box.append(pre);
}

function wrapTable(table) {
  const box = element("div", { class: "table", dir: table.dir, tabindex: "0", role: "region", "aria-label": "Table" });
  // What scrolls has to know where the table begins.
  table.removeAttribute("dir");
  table.replaceWith(box);
  box.append(table);
}

const GOES_ON = new Set(["P", "LI", "UL", "OL", "BLOCKQUOTE", "H1", "H2", "H3", "H4", "H5", "H6"]);

// The innermost block at the end, where the next words will most likely belong.
function lastBlock(root) {
  let node = root;
  for (;;) {
    const last = node.lastElementChild;
    if (last?.matches(".code")) return last.querySelector("code") ?? last.querySelector("pre");
    if (!last || !GOES_ON.has(last.nodeName)) return node;
    node = last;
  }
}
