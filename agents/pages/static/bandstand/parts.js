// What an answer consists of: texts, and tool calls with their results.

import { element, icon, setText } from "./dom.js";
import { MarkdownView } from "./markdown.js";

const TOOL_STATES = {
  running: "running…",
  done: "done",
  failed: "failed",
  unknown: "outcome unknown",
  stopped: "stopped",
  handed: "handed to a program",
};

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
  // talks over /v1.
  update(parts, live, whole) {
    const blocks = blocksOf(parts, live ? "running" : whole ? "handed" : "stopped");
    blocks.forEach((block, index) => {
      let view = this.views[index];
      if (view?.kind !== block.kind) {
        const fresh = block.kind === "text" ? new TextBlock(this.renderer) : new ToolBlock();
        if (view) view.node.replaceWith(fresh.node);
        else this.node.append(fresh.node);
        this.views[index] = view = fresh;
      }
      view.update(block, live && index === blocks.length - 1);
    });
    for (const view of this.views.splice(blocks.length)) view.node.remove();
  }
}

function blocksOf(parts, unanswered) {
  const blocks = [];
  const tools = new Map();
  for (const part of parts) {
    if (part.type === "text" && part.text) {
      blocks.push({ kind: "text", text: part.text, html: part.html ?? null });
    } else if (part.type === "tool_call") {
      const block = { kind: "tool", name: part.name, input: part.arguments, output: null, state: unanswered };
      tools.set(part.id, block);
      blocks.push(block);
    } else if (part.type === "tool_result" && tools.has(part.call_id)) {
      const block = tools.get(part.call_id);
      block.output = part.content;
      block.state = part.outcome === "unknown" ? "unknown" : part.is_error ? "failed" : "done";
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

class ToolBlock {
  kind = "tool";

  constructor() {
    this.name = element("span", { class: "tool__name" });
    this.gist = element("span", { class: "tool__gist" });
    this.state = element("span", { class: "tool__state" });
    this.input = element("pre", { tabindex: "0", role: "region", "aria-label": "Arguments" });
    this.output = element("pre", { tabindex: "0", role: "region", "aria-label": "Result" });
    this.node = element(
      "details",
      { class: "tool", "data-kind": "tool" },
      element("summary", {}, element("span", { class: "tool__mark", "aria-hidden": "true" }), this.name, this.gist, this.state, icon("chevron")),
      element("div", { class: "tool__body" }, element("h4", {}, "Arguments"), this.input, element("h4", {}, "Result"), this.output),
    );
  }

  update(block) {
    this.node.dataset.state = block.state;
    setText(this.name, block.name);
    setText(this.gist, gistOf(block.input));
    setText(this.state, TOOL_STATES[block.state]);
    setText(this.input, pretty(block.input));
    setText(this.output, block.output === null ? (block.state === "running" ? "…" : "None.") : pretty(block.output));
  }
}

// The values of the arguments in a few words, so that one need not open every call.
function gistOf(input) {
  const parsed = parse(input);
  if (typeof parsed !== "object" || parsed === null) return "";
  return Object.values(parsed)
    .map((value) => (typeof value === "string" ? value : JSON.stringify(value)))
    .join(", ")
    .slice(0, 200);
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
