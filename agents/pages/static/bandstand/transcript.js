// Draws a conversation: exchanges of a question, the work on it and its answer.

import { element, icon, setText } from "./dom.js";

const TOOL_STATES = {
  running: "running",
  done: "done",
  failed: "failed",
  unknown: "outcome unknown",
};

export class Transcript {
  // `actions`: {cancel(turnId), retry(text)}
  constructor(list, actions) {
    this.list = list;
    this.actions = actions;
    this.views = new Map();
    this.pendingViews = new Map();
  }

  clear() {
    this.views.clear();
    this.pendingViews.clear();
    this.list.replaceChildren();
  }

  // Draw all exchanges, then the messages of the outbox that the log does not show yet.
  draw(exchanges, pending) {
    this.#reconcile(this.views, exchanges, (exchange) => new ExchangeView(exchange, this.actions));
    this.#reconcile(this.pendingViews, pending, (item) => new PendingView(item));
    const nodes = [...exchanges.map((e) => this.views.get(e.key)), ...pending.map((p) => this.pendingViews.get(p.key))];
    nodes.forEach((view, index) => {
      if (this.list.children[index] !== view.node) this.list.insertBefore(view.node, this.list.children[index] ?? null);
    });
  }

  #reconcile(views, items, make) {
    const keys = new Set(items.map((item) => item.key));
    for (const [key, view] of views) {
      if (keys.has(key)) continue;
      view.node.remove();
      views.delete(key);
    }
    for (const item of items) {
      if (!views.has(item.key)) views.set(item.key, make(item));
      views.get(item.key).update(item);
    }
  }
}

class PendingView {
  constructor(item) {
    this.note = element("p", { class: "note" });
    this.node = element(
      "li",
      { class: "exchange exchange--pending" },
      element("article", { class: "question" }, element("div", { class: "question__text" }, item.text)),
      this.note,
    );
  }

  update(item) {
    setText(this.note, item.note);
  }
}

class ExchangeView {
  constructor(exchange, actions) {
    this.actions = actions;
    this.text = plainText(exchange.message.parts);
    this.parts = element("div", { class: "parts" });
    this.state = element("div", { class: "state" });
    this.answer = element(
      "article",
      { class: "answer", hidden: true },
      element("h3", { class: "visually-hidden" }, exchange.message.author === "user" ? "Answer" : "Message"),
      this.parts,
      this.state,
    );
    this.node = element("li", { class: "exchange" });
    if (exchange.message.author === "user") this.node.append(question(exchange.message, this.text));
    this.node.append(this.answer);
  }

  update({ message, turn, answer }) {
    const own = message.author === "user" ? null : message;
    const said = answer ?? own;
    drawParts(this.parts, said ? said.parts : (turn?.shown ?? []), Boolean(turn) && !said);
    const state = stateOf(turn, said);
    this.answer.hidden = !said && !state && !turn?.shown.length;
    this.answer.classList.toggle("answer--live", state === "running");
    this.answer.setAttribute("aria-busy", String(state === "running"));
    this.#drawState(state, turn, said);
  }

  #drawState(state, turn, said) {
    const shape = JSON.stringify([state, turn?.id, turn?.error, turn?.restarted, said?.id, Boolean(turn?.shown.length)]);
    if (shape === this.shape) return;
    this.shape = shape;
    this.state.replaceChildren(...this.#stateNodes(state, turn, said));
  }

  #stateNodes(state, turn, said) {
    switch (state) {
      case "queued":
        return [note("Waiting for its turn"), this.#button("Cancel", "close", () => this.actions.cancel(turn.id))];
      case "running":
        return [turn.restarted ? note("Interrupted; writing it again") : null, working(turn.shown.length)].filter(Boolean);
      case "waiting":
        return [note("Waiting")];
      case "retry_wait":
        return [note("The model does not answer just now; trying again soon"), working(false)];
      case "cancelling":
        return [note("Stopping")];
      case "cancelled":
        return [note(said ? "Stopped here" : "Stopped before an answer", "stop")];
      case "expired":
        return [this.#failure("This took too long and was given up.", null, true)];
      case "failed":
        return [this.#failure(turn.error?.detail, turn.error?.error_id, turn.error?.retry_suggested)];
      case "partial":
        return [note("This answer is incomplete", "alert")];
      case "done":
        return [this.#button("Copy", "copy", (event) => copy(plainText(said.parts), event.currentTarget))];
      default:
        return [];
    }
  }

  #failure(detail, errorId, retry) {
    return element(
      "div",
      { class: "failure", role: "group", "aria-label": "Failed" },
      icon("alert"),
      element(
        "div",
        {},
        element("p", {}, detail || "Something went wrong, and there is no answer."),
        errorId ? element("p", { class: "failure__id" }, "Reference ", element("code", {}, errorId)) : null,
        retry ? this.#button("Ask again", "retry", () => this.actions.retry(this.text)) : null,
      ),
    );
  }

  #button(label, symbol, action) {
    return element("button", { type: "button", class: "quiet", onclick: action }, icon(symbol), element("span", {}, label));
  }
}

function question(message, text) {
  return element(
    "article",
    { class: "question" },
    element("h3", { class: "visually-hidden" }, "You"),
    element("div", { class: "question__text", title: new Date(message.created_at).toLocaleString() }, text),
  );
}

// The word for what is below an answer; null: nothing.
function stateOf(turn, said) {
  if (turn) return turn.status;
  if (!said) return null;
  return said.partial ? "partial" : "done";
}

function note(text, symbol = null) {
  return element("p", { class: "note" }, symbol ? icon(symbol) : null, text);
}

function working(hasText) {
  return element(
    "p",
    { class: hasText ? "working working--text" : "working", "aria-hidden": "true" },
    element("span"),
    element("span"),
    element("span"),
  );
}

export function plainText(parts) {
  return parts
    .filter((part) => part.type === "text")
    .map((part) => part.text)
    .join("\n\n");
}

// --- parts: text as it is, tool calls with their results ---

function drawParts(container, parts, live) {
  const blocks = blocksOf(parts, live);
  blocks.forEach((block, index) => {
    let node = container.children[index];
    if (!node || node.dataset.kind !== block.kind) {
      const fresh = block.kind === "text" ? textBlock() : toolBlock();
      if (node) node.replaceWith(fresh);
      else container.append(fresh);
      node = fresh;
    }
    if (block.kind === "text") setText(node, block.text);
    else updateTool(node, block);
  });
  while (container.children.length > blocks.length) container.lastChild.remove();
}

function blocksOf(parts, live) {
  const blocks = [];
  const tools = new Map();
  for (const part of parts) {
    if (part.type === "text" && part.text) {
      blocks.push({ kind: "text", text: part.text });
    } else if (part.type === "tool_call") {
      const block = { kind: "tool", name: part.name, input: part.arguments, output: null, state: live ? "running" : "unknown" };
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

function textBlock() {
  return element("div", { class: "text", "data-kind": "text" });
}

function toolBlock() {
  return element(
    "details",
    { class: "tool", "data-kind": "tool" },
    element(
      "summary",
      {},
      element("span", { class: "tool__mark", "aria-hidden": "true" }),
      element("span", { class: "tool__name" }),
      element("span", { class: "tool__state" }),
      icon("chevron"),
    ),
    element("div", { class: "tool__body" }, element("h4", {}, "Input"), element("pre"), element("h4", {}, "Result"), element("pre")),
  );
}

function updateTool(node, block) {
  node.dataset.state = block.state;
  setText(node.querySelector(".tool__name"), block.name);
  setText(node.querySelector(".tool__state"), TOOL_STATES[block.state]);
  const [input, output] = node.querySelectorAll("pre");
  setText(input, pretty(block.input));
  setText(output, block.output === null ? "…" : pretty(block.output));
}

function pretty(value) {
  if (typeof value !== "string") return JSON.stringify(value, null, 2);
  try {
    const parsed = JSON.parse(value);
    return typeof parsed === "object" ? JSON.stringify(parsed, null, 2) : value;
  } catch {
    return value;
  }
}

async function copy(text, button) {
  const label = button.querySelector("span");
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    label.textContent = "Select the text to copy it";
  }
  setTimeout(() => (label.textContent = "Copy"), 2000);
}
