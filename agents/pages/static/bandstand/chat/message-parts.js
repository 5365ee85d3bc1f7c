// What an answer consists of: texts, the model's reasoning, and tool calls with their results.

import { cutText } from "../shared/cut-text.js";
import { element, icon, setText } from "../shared/dom.js";
import { MarkdownView } from "./markdown.js";

const SHOWN_CHARS = 4000;

const TOOL_STATES = {
  running: "running…",
  asking: "waits for a person",
  done: "done",
  failed: "failed",
  refused: "refused",
  unknown: "outcome unknown",
  stopped: "stopped",
  handed: "handed to a program",
};

// What a result says of a call besides that it failed.
const OUTCOMES = new Set(["refused", "unknown"]);

// As `CUT_REASONS` of `agents/domain/message_parts.py`.
const CUT_REASONS = {
  length: "Cut off: the answer reached its limit of tokens.",
  repetition: "The model stopped because it repeated itself.",
};

// As `FALLBACK_NOTES` of `agents/domain/response_fallbacks.py`.
const FALLBACK_NOTES = {
  cached_response: "No model answers just now. This is an earlier answer to the same question.",
  simplified_response: "A simpler model answered. It has read your last message only.",
  human_handoff: "A person was asked to take over.",
};

function fallbackNote({ fallback, answered_at: at }) {
  const time = at ? new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" }) : "";
  return `${FALLBACK_NOTES[fallback]}${time ? ` It was given on ${time}.` : ""}`;
}

export function plainText(parts) {
  return parts
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("\n\n");
}

export class PartsView {
  constructor(renderer) {
    this.renderer = renderer;
    this.node = element("div", { class: "parts" });
    this.views = [];
  }

  // `live`: the answer is still being written. `whole`: it ended well, so a call without a result was for a program that
  // talks over /v1. `asking`: the ids of calls that wait until a person agrees.
  update(parts, live, whole, asking = []) {
    const blocks = blocksOf(parts, live ? "running" : whole ? "handed" : "stopped", asking);
    blocks.forEach((block, index) => {
      let view = this.views[index];
      if (view?.kind !== block.kind) {
        const fresh = new BLOCKS[block.kind](this.renderer);
        if (view) view.node.replaceWith(fresh.node);
        else this.node.append(fresh.node);
        this.views[index] = view = fresh;
      }
      view.update(block, live && index === blocks.length - 1);
    });
    for (const view of this.views.splice(blocks.length)) view.node.remove();
  }
}

function blocksOf(parts, unanswered, asking) {
  const blocks = [];
  const tools = new Map();
  for (const part of parts) {
    if (part.type === "text") {
      if (part.text) blocks.push({ kind: "text", text: part.text, html: part.html ?? null });
      if (part.cut in CUT_REASONS) blocks.push({ kind: "note", words: CUT_REASONS[part.cut] });
      if (part.fallback in FALLBACK_NOTES) blocks.push({ kind: "note", words: fallbackNote(part) });
    } else if (part.type === "reasoning") {
      blocks.push({ kind: "reasoning", text: part.text });
    } else if (part.type === "tool_call") {
      const block = { kind: "tool", name: part.name, input: part.arguments, output: null, state: asking.includes(part.id) ? "asking" : unanswered };
      tools.set(part.id, block);
      blocks.push(block);
    } else if (part.type === "tool_result" && tools.has(part.call_id)) {
      const block = tools.get(part.call_id);
      block.output = part.content;
      block.state = OUTCOMES.has(part.outcome) ? part.outcome : part.is_error ? "failed" : "done";
    }
  }
  return blocks;
}

class TextBlock {
  kind = "text";

  constructor(renderer) {
    this.view = new MarkdownView(renderer);
    this.node = this.view.node;
  }

  update(block, live) {
    this.view.update(block.text, { html: block.html, live });
  }
}

// What the model thought before it wrote. It is rendered once somebody opens it.
class ReasoningBlock {
  kind = "reasoning";

  constructor(renderer) {
    this.view = new MarkdownView(renderer);
    this.label = element("span", { class: "reasoning__label" });
    this.node = element(
      "details",
      { class: "reasoning", "data-kind": "reasoning", ontoggle: () => this.#draw() },
      element("summary", {}, this.label, icon("chevron")),
      element("div", { class: "reasoning__body" }, this.view.node),
    );
  }

  update({ text }, live) {
    this.text = text;
    this.live = live;
    setText(this.label, live ? "Thinking…" : "Reasoning");
    this.#draw();
  }

  #draw() {
    if (this.node.open) this.view.update(this.text, { live: this.live });
  }
}

class NoteBlock {
  kind = "note";

  constructor() {
    this.words = element("span");
    this.node = element("p", { class: "note" }, icon("alert"), this.words);
  }

  update({ words }) {
    setText(this.words, words);
  }
}

class ToolBlock {
  kind = "tool";

  constructor() {
    this.name = element("span", { class: "tool__name" });
    this.gist = element("span", { class: "tool__gist", dir: "auto" });
    this.state = element("span", { class: "tool__state" });
    this.input = new LongText("Arguments");
    this.output = new LongText("Result");
    this.node = element(
      "details",
      { class: "tool", "data-kind": "tool" },
      element("summary", {}, element("span", { class: "tool__mark", "aria-hidden": "true" }), this.name, this.gist, this.state, icon("chevron")),
      element("div", { class: "tool__body" }, element("h4", {}, "Arguments"), this.input.node, element("h4", {}, "Result"), this.output.node),
    );
  }

  update({ name, input, output, state }) {
    // The words of an answer come one by one, and a call does not change with them.
    if (this.drawn?.every((value, index) => value === [name, input, output, state][index])) return;
    this.drawn = [name, input, output, state];
    this.node.dataset.state = state;
    setText(this.name, name);
    setText(this.gist, gistOf(input));
    setText(this.state, TOOL_STATES[state]);
    this.input.show(pretty(input));
    this.output.show(output === null ? (state === "running" || state === "asking" ? "…" : "None.") : pretty(output));
  }
}

const BLOCKS = { text: TextBlock, reasoning: ReasoningBlock, note: NoteBlock, tool: ToolBlock };

// A text of any length: its beginning, and all of it for who asks.
class LongText {
  constructor(label) {
    this.text = element("pre", { dir: "auto", tabindex: "0", role: "region", "aria-label": label });
    this.more = element("button", { type: "button", class: "quiet", hidden: true, onclick: () => this.#showAll() });
    this.node = element("div", {}, this.text, this.more);
  }

  show(text) {
    this.whole = text;
    this.more.hidden = text.length <= SHOWN_CHARS;
    setText(this.more, `Show all ${text.length.toLocaleString()} characters`);
    setText(this.text, this.more.hidden ? text : `${cutText(text, SHOWN_CHARS)}…`);
  }

  #showAll() {
    setText(this.text, this.whole);
    this.text.focus();
    this.more.hidden = true;
  }
}

// The values of the arguments in a few words, so that one need not open every call.
function gistOf(input) {
  const parsed = parse(input);
  if (typeof parsed !== "object" || parsed === null) return "";
  const values = Object.values(parsed).map((value) => (typeof value === "string" ? value : JSON.stringify(value)));
  return cutText(values.join(", "), 200);
}

function pretty(value) {
  const parsed = parse(value);
  return typeof parsed === "object" ? JSON.stringify(parsed, null, 2) : String(value);
}

function parse(value) {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}
