// Calls that wait until a person agrees: what will be called with which values, why somebody is asked, and the decision.

import { cutText } from "../shared/cut-text.js";
import { arrange, element, icon, setText } from "../shared/dom.js";
import { parseExactly, reveal, ExactNumber } from "./stored-call.js";

const SHOWN_CHARS = 1200;
const DEEPEST = 4;
const LONGEST_NOTE = 1000;

const OUTCOMES = {
  approved: { user: "You approved this call", operator: "An operator approved this call" },
  denied: { user: "You refused this call", operator: "An operator refused this call" },
  expired: { system: "Nobody decided in time, so this call was refused" },
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
      ...(turn?.decisions ?? []).filter((one) => decisionWords(one)).map((one) => ({ key: one.approval, kind: OutcomeNote, one })),
      ...(turn?.approvals ?? []).map((one) => ({ key: one.approval, kind: ApprovalCard, one })),
    ];
    const views = items.map(({ key, kind, one }) => this.#view(key, kind, one, turn.id));
    for (const key of this.views.keys()) if (!items.some((item) => item.key === key)) this.views.delete(key);
    arrange(
      this.node,
      views.map((view) => view.node),
    );
    this.node.hidden = !views.length;
  }

  #view(key, kind, one, turnId) {
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
    const agreed = one.decision === "approved";
    const words = `${decisionWords(one)}${one.note ? ` “${reveal(one.note)}”` : ""}`;
    this.node = element("p", { class: "note", tabindex: "-1" }, icon(agreed ? "check" : "close"), element("span", { dir: "auto" }, words));
  }
}

class ApprovalCard {
  constructor(approval, decide) {
    this.approval = approval;
    this.decide = decide;
    const { tool, who, until, reasons } = approval;
    const own = who === "user";
    this.node = element(
      "section",
      { class: own ? "approval approval--own" : "approval", role: "group", "aria-label": own ? `May the agent use ${tool}?` : `${tool} waits for an operator` },
      element("h3", { class: "approval__title" }, icon("alert"), own ? element("span", {}, "May the agent use ", element("code", {}, tool), "?") : element("span", {}, element("code", {}, tool), " waits for an operator")),
      element("p", { class: "approval__words" }, own ? "It is called only if you approve, and with exactly these values:" : "Somebody who runs this service decides. You need not stay; the answer goes on by itself. The call:"),
      argumentsView(approval.arguments),
      reasons.length ? element("div", { class: "approval__why" }, element("h4", {}, own ? "Why you are asked" : "Why somebody is asked"), element("ul", {}, ...reasons.map((reason) => element("li", { dir: "auto" }, reveal(reason))))) : null,
      element("p", { class: "approval__until" }, "Until ", element("time", { datetime: until }, timeOf(until)), "; after that the call is refused, and the agent goes on without it."),
      own ? this.#decision() : null,
    );
  }

  #decision() {
    this.note = element("textarea", { class: "editor__text", dir: "auto", rows: "1", maxlength: String(LONGEST_NOTE) });
    this.state = element("span", { class: "note", role: "status" });
    this.buttons = [
      element("button", { type: "button", class: "button button--small", onclick: () => this.#send("approve") }, "Approve"),
      element("button", { type: "button", class: "button button--plain button--small", onclick: () => this.#send("deny") }, "Refuse"),
    ];
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

// The values one by one, and the JSON for who wants to see it.
function argumentsView(json) {
  const parsed = parseExactly(json);
  const raw = element("details", { class: "approval__raw", open: !parsed }, element("summary", {}, icon("chevron"), "As it is sent"), element("pre", { dir: "ltr", tabindex: "0", role: "group", "aria-label": "The arguments as JSON" }, reveal(json)));
  if (!parsed) return raw;
  const { value } = parsed;
  const none = typeof value === "object" && value !== null && !Object.keys(value).length;
  return element("div", { class: "approval__call" }, none ? element("p", { class: "approval__none" }, "No values.") : valueView(value, 0), raw);
}

function valueView(value, depth) {
  if (value instanceof ExactNumber) return element("span", { class: "approval__value" }, value.source);
  if (value === true || value === false) return element("span", { class: "approval__value" }, value ? "yes" : "no");
  if (value === null) return element("span", { class: "approval__none" }, "nothing");
  if (typeof value === "string") return textView(value);
  if (depth >= DEEPEST) return textView(JSON.stringify(value, (_key, inner) => (inner instanceof ExactNumber ? inner.source : inner)));
  if (Array.isArray(value)) {
    if (!value.length) return element("span", { class: "approval__none" }, "an empty list");
    return element("ol", { class: "approval__list" }, ...value.map((inner) => element("li", {}, valueView(inner, depth + 1))));
  }
  const entries = Object.entries(value);
  if (!entries.length) return element("span", { class: "approval__none" }, "nothing");
  return element(
    "dl",
    { class: "approval__values" },
    ...entries.map(([name, inner]) => element("div", {}, element("dt", { dir: "auto" }, reveal(name)), element("dd", {}, valueView(inner, depth + 1)))),
  );
}

function textView(text) {
  if (!text) return element("span", { class: "approval__none" }, "empty");
  const shown = reveal(text);
  const node = element("span", { class: "approval__value", dir: "auto" }, shown.length > SHOWN_CHARS ? `${cutText(shown, SHOWN_CHARS)}…` : shown);
  if (shown.length <= SHOWN_CHARS) return node;
  const more = element("button", { type: "button", class: "quiet" }, `Show all ${shown.length.toLocaleString()} characters`);
  more.addEventListener("click", () => {
    setText(node, shown);
    more.remove();
  });
  return element("div", {}, node, more);
}

function timeOf(moment) {
  return new Date(moment).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
