// Calls that wait until a person agrees: what will be called with which values, why somebody is asked, and the decision.

import { cutText } from "../shared/cut-text.js";
import { arrange, element, icon, setText } from "../shared/dom.js";
import { ExactNumber, parseExactly, reveal } from "./stored-call.js";

const SHOWN_CHARS = 1200;
const DEEPEST = 4;
const LONGEST_NOTE = 1000;

const OUTCOMES = {
  approved: { user: "You approved this call", operator: "An operator approved this call" },
  denied: { user: "You refused this call", operator: "An operator refused this call" },
  expired: { system: "Nobody decided in time, so this call was refused" },
};

// What a card says to who decides, and to who waits; the name of the tool stands between the parts of the title.
const OWN = {
  title: ["May the agent use ", "?"],
  about: "It is called only if you approve, and with exactly these values:",
  why: "Why you are asked",
};
const OTHERS = {
  title: ["", " waits for an operator"],
  about: "Somebody who runs this service decides. You need not stay: the answer goes on by itself. The call:",
  why: "Why somebody is asked",
};

// What those who listen hear of an approval.
export function approvalWords({ tool, who }) {
  return who === "user"
    ? `The agent asks whether it may use ${tool}. Approve or refuse it below its answer.`
    : `The agent waits until an operator agrees that it uses ${tool}.`;
}

export function decisionWords({ decision, by, tool }) {
  const words = OUTCOMES[decision]?.[by];
  return words ? `${words}: ${tool}.` : null;
}

export class ApprovalsView {
  // `actions.decide(turnId, approvalId, decision, note)` resolves to whether it is stored.
  constructor(actions) {
    this.actions = actions;
    this.node = element("div", { class: "approvals", hidden: true });
    this.views = new Map(); // id → card or outcome
  }

  // `turn`: with its `approvals` and what was decided since the page is open, `decisions`; null: nothing waits.
  update(turn) {
    const items = [
      ...(turn?.decisions ?? []).filter(decisionWords).map((one) => [OutcomeNote, one]),
      ...(turn?.approvals ?? []).map((one) => [ApprovalCard, one]),
    ];
    const views = items.map(([kind, one]) => this.#view(kind, one, turn.id));
    for (const key of this.views.keys()) if (!items.some(([, { approval }]) => approval === key)) this.views.delete(key);
    arrange(
      this.node,
      views.map((view) => view.node),
    );
    this.node.hidden = !views.length;
  }

  #view(kind, one, turnId) {
    const key = one.approval;
    const known = this.views.get(key);
    if (known instanceof kind) return known;
    const fresh = new kind(one, (decision, note) => this.actions.decide(turnId, key, decision, note));
    this.views.set(key, fresh);
    // Who pressed the button goes on from what became of it.
    if (known?.node.contains(document.activeElement)) {
      known.node.replaceWith(fresh.node);
      fresh.node.focus();
    }
    return fresh;
  }
}

class OutcomeNote {
  constructor(one) {
    const note = one.note ? ` “${reveal(one.note)}”` : "";
    this.node = element(
      "p",
      { class: "note", tabindex: "-1" },
      icon(one.decision === "approved" ? "check" : "close"),
      element("span", { dir: "auto" }, `${decisionWords(one)}${note}`),
    );
  }
}

class ApprovalCard {
  constructor(approval, decide) {
    this.decide = decide;
    const { tool, who, until, reasons } = approval;
    const own = who === "user";
    const words = own ? OWN : OTHERS;
    this.node = element(
      "section",
      { class: own ? "approval approval--own" : "approval", role: "group", "aria-label": words.title.join(tool) },
      element(
        "h3",
        { class: "approval__title" },
        icon("alert"),
        element("span", {}, words.title[0], element("code", {}, tool), words.title[1]),
      ),
      element("p", {}, words.about),
      argumentsView(approval.arguments),
      reasons.length ? reasonsView(words.why, reasons) : null,
      element(
        "p",
        { class: "approval__until" },
        "Until ",
        element("time", { datetime: until }, timeOf(until)),
        "; after that the call is refused, and the agent goes on without it.",
      ),
      own ? this.#decision() : null,
    );
  }

  #decision() {
    this.note = element("textarea", { class: "editor__text", dir: "auto", rows: "1", maxlength: String(LONGEST_NOTE) });
    this.state = element("span", { class: "note", role: "status" });
    this.buttons = [
      ["approve", "Approve", "button button--small"],
      ["deny", "Refuse", "button button--plain button--small"],
    ].map(([decision, words, look]) => element("button", { type: "button", class: look, onclick: () => this.#send(decision) }, words));
    return element(
      "div",
      { class: "approval__decision" },
      element("label", { class: "approval__note" }, "A note (optional). The agent reads it if you refuse.", this.note),
      element("div", { class: "approval__buttons" }, ...this.buttons, this.state),
    );
  }

  async #send(decision) {
    if (this.sending) return;
    this.#sending(true);
    // Once it is stored, the log says so, and the card goes.
    if (!(await this.decide(decision, this.note.value.trim()))) this.#sending(false);
  }

  // Still to be reached by key: a button that is disabled loses the focus.
  #sending(sending) {
    this.sending = sending;
    for (const button of this.buttons) button.setAttribute("aria-disabled", String(sending));
    this.note.readOnly = sending;
    setText(this.state, sending ? "Sending…" : "");
  }
}

function reasonsView(title, reasons) {
  const items = reasons.map((reason) => element("li", { dir: "auto" }, sentence(reveal(reason))));
  return element("div", { class: "approval__why" }, element("h4", {}, title), element("ul", {}, ...items));
}

// The values one by one, and the JSON for who wants to see it.
function argumentsView(json) {
  const parsed = parseExactly(json);
  const raw = element(
    "details",
    { class: "approval__raw", open: !parsed },
    element("summary", {}, icon("chevron"), "The exact call"),
    element("pre", { dir: "ltr", tabindex: "0", role: "group", "aria-label": "The arguments as JSON" }, reveal(json)),
  );
  if (!parsed) return raw;
  const none = parsed.value !== null && typeof parsed.value === "object" && !Object.keys(parsed.value).length;
  return element("div", { class: "approval__call" }, none ? nothing("No values.") : valueView(parsed.value, 0), raw);
}

function valueView(value, depth) {
  if (value instanceof ExactNumber) return element("span", { class: "approval__value" }, value.source);
  if (typeof value === "string") return textView(value);
  if (typeof value === "boolean") return element("span", { class: "approval__value" }, value ? "yes" : "no");
  if (value === null || !Object.keys(value).length) return nothing(Array.isArray(value) ? "an empty list" : "nothing");
  if (depth >= DEEPEST) return nothing("see the exact call");
  if (Array.isArray(value)) {
    return element("ol", { class: "approval__list" }, ...value.map((inner) => element("li", {}, valueView(inner, depth + 1))));
  }
  const rows = Object.entries(value).map(([name, inner]) =>
    element("div", {}, element("dt", { dir: "auto" }, reveal(name)), element("dd", {}, valueView(inner, depth + 1))),
  );
  return element("dl", { class: "approval__values" }, ...rows);
}

function nothing(words) {
  return element("span", { class: "approval__none" }, words);
}

function textView(text) {
  if (!text) return nothing("empty");
  const shown = reveal(text);
  const cut = shown.length > SHOWN_CHARS;
  const node = element("span", { class: "approval__value", dir: "auto" }, cut ? `${cutText(shown, SHOWN_CHARS)}…` : shown);
  if (!cut) return node;
  const more = element("button", { type: "button", class: "quiet" }, `Show all ${shown.length.toLocaleString()} characters`);
  more.addEventListener("click", () => {
    setText(node, shown);
    more.remove();
  });
  return element("div", {}, node, more);
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function timeOf(moment) {
  return new Date(moment).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
