// One exchange: a question, the work on it, its answer, and the branches beside it.

import { copy } from "../shared/clipboard.js";
import { element, icon, setText, toolButton } from "../shared/dom.js";
import { ApprovalsView } from "./approvals.js";
import { BranchSwitch } from "./branch-switch.js";
import { FeedbackView } from "./feedback.js";
import { personName } from "./handoff.js";
import { PartsView, plainText } from "./message-parts.js";
import { QuestionView, timeOf } from "./question.js";
import { withLocalTime } from "./quota.js";

export const WAITS_FOR_BUDGET = "Waiting: other answers hold what is left of the budget";
const ENDS_WITHOUT_ANSWER = new Set(["failed", "expired", "cancelled"]);

export class ExchangeView {
  // `actions`: see `Transcript`.
  constructor(exchange, { actions, renderer }) {
    this.actions = actions;
    this.parts = new PartsView(renderer);
    this.approvals = new ApprovalsView(actions);
    this.state = element("div", { class: "state" });
    this.feedback = new FeedbackView(actions);
    this.branches = new BranchSwitch("answer", actions.choose);
    this.tools = element(
      "div",
      { class: "tools answer__tools", hidden: true },
      this.branches.node,
      (this.copying = toolButton("Copy", "copy", (event) => copy(plainText(this.said.parts), event.currentTarget), { shown: true })),
      (this.again = toolButton("Answer again", "retry", () => this.#askAgain())),
      this.feedback.buttons,
    );
    this.again.classList.add("asks-agent");
    const { author } = exchange.message;
    const own = author === "user";
    this.answer = element(
      "article",
      { class: author === "human" ? "answer answer--human" : "answer", hidden: true },
      headingOf(exchange.message),
      this.parts.node,
      this.approvals.node,
      this.state,
      this.tools,
      this.feedback.place,
    );
    this.node = element("li", { class: "exchange", "data-message": exchange.key });
    this.question = own ? new QuestionView(exchange.message, actions) : null;
    if (this.question) this.node.append(this.question.node);
    this.node.append(this.answer);
  }

  update(exchange) {
    if (!this.#changed(exchange)) return;
    const { message, turn, answer } = exchange;
    this.exchange = exchange;
    this.said = answer ?? (this.question ? null : message);
    this.question?.update(exchange);
    const open = Boolean(turn) && !ENDS_WITHOUT_ANSWER.has(turn.status) && !this.said;
    const asking = turn?.approvals ?? [];
    const shown = this.said ? this.said.parts : (turn?.shown ?? []);
    this.parts.update(shown, open, this.said?.partial === false, asking.map((approval) => approval.call_id));
    this.approvals.update(open ? turn : null);
    const state = stateOf(turn, this.said);
    this.answer.hidden = !this.said && !state && !turn?.shown.length;
    this.answer.setAttribute("aria-busy", String(open));
    this.#drawState(state, exchange);
    const whole = Boolean(this.said) && !open;
    this.branches.update(message.id, exchange.answers);
    this.tools.hidden = !whole && exchange.answers.length < 2;
    this.copying.hidden = !whole || !plainText(this.said.parts);
    this.again.hidden = !whole || !this.question?.text || state === "failed" || state === "expired";
    this.feedback.update(whole && this.said.author === "agent" ? this.said : null);
  }

  // The way to other versions of the `message` or of the `answer`.
  versions(of) {
    return of === "answer" ? this.branches : this.question?.branches;
  }

  // Most exchanges have not changed since they were drawn last, and there may be thousands.
  #changed({ message, turn, answer, position, left, questions, answers }) {
    const versions = [...questions, ...answers].map(({ id, head }) => head ?? id).join();
    const now = [message, turn, turn?.revision, answer, position, left, versions];
    const changed = !this.drawn || now.some((value, index) => value !== this.drawn[index]);
    this.drawn = now;
    return changed;
  }

  #drawState(state, { turn, position }) {
    const { error, reason, restarted, retrying, shown, approvals, waits_for: waitsFor } = turn ?? {};
    const asking = approvals?.map(({ who }) => who);
    const shape = JSON.stringify([state, error, reason, restarted, retrying, position, waitsFor, asking, Boolean(this.said), Boolean(shown?.length)]);
    if (shape === this.shape) return;
    this.shape = shape;
    this.state.replaceChildren(...this.#stateNodes(state, turn, position));
  }

  #stateNodes(state, turn, position) {
    switch (state) {
      case "queued":
        return [note(waitingWords(position)), toolButton("Cancel", "close", () => this.actions.cancel(turn.id), { shown: true })];
      case "running":
        return [beginningAgain(turn), working()].filter(Boolean);
      case "waiting":
        if (turn.approvals?.length) return [note(waitsForPerson(turn.approvals))];
        return [note(turn.waits_for === "budget" ? WAITS_FOR_BUDGET : "Waiting"), working()];
      case "retry_wait":
        return [note("The model does not answer just now; trying again soon"), working()];
      case "cancelling":
        return [note("Stopping…")];
      case "cancelled":
        if (turn.reason === "handoff") return [note(this.said ? "A person took over here" : "A person took over before an answer", "person")];
        return this.said ? [note("Stopped here", "stop")] : [note("Stopped before an answer", "stop"), this.#retryButton()];
      case "expired":
        return [this.#failure("This took too long and was given up.", null)];
      case "failed":
        return [this.#failure(errorDetail(turn.error), turn.error?.error_id, mayPass(turn.error))];
      case "partial":
        return [note("This answer is incomplete", "alert")];
      default:
        return [];
    }
  }

  // `passes`: asking again may help.
  #failure(detail, errorId, passes = true) {
    const reference = errorId
      ? element(
          "p",
          { class: "failure__id" },
          "Reference ",
          element("code", {}, errorId),
          toolButton("Copy", "copy", (event) => copy(errorId, event.currentTarget), { shown: true, label: "Copy the reference" }),
        )
      : null;
    return element(
      "div",
      { class: passes ? "failure failure--passing" : "failure", role: "group", "aria-label": "Failed" },
      icon("alert"),
      element(
        "div",
        {},
        element("p", {}, detail || "Something went wrong, and there is no answer."),
        reference,
        passes ? this.#retryButton() : "",
      ),
    );
  }

  #retryButton() {
    if (!this.question?.text) return "";
    const button = toolButton("Try again", "retry", () => this.#askAgain(), { shown: true });
    button.classList.add("asks-agent");
    return button;
  }

  #askAgain() {
    const { message } = this.exchange;
    this.actions.ask(plainText(message.parts), message.parent);
  }
}

// What stands above an answer. What a program told the model over /v1, and what a person wrote, must not look like one of
// the agent's.
function headingOf({ author, parts, created_at: at }) {
  if (author === "system") return element("h2", { class: "note" }, "Instructions from a program");
  if (author !== "human") return element("h2", { class: "visually-hidden" }, author === "user" ? "Answer" : "Message");
  return element(
    "h2",
    { class: "answer__by" },
    icon("person"),
    element("span", { dir: "auto" }, authorName(parts)),
    element("span", { class: "answer__kind" }, "person"),
    element("time", { datetime: at }, timeOf(at)),
  );
}

// Who wrote a message in place of the agent.
export function authorName(parts) {
  return personName(parts.find((part) => part.by)?.by ?? null);
}

// A message that the log does not show yet.
export class PendingView {
  constructor(item) {
    this.note = element("p", { class: "note" });
    this.node = element(
      "li",
      { class: "exchange exchange--pending" },
      element("article", { class: "question" }, element("div", { class: "question__text", dir: "auto" }, item.text), this.note),
    );
  }

  update(item) {
    setText(this.note, item.note);
  }
}

// The word for what is below an answer; null: nothing.
function stateOf(turn, said) {
  if (turn) return turn.status;
  if (!said) return null;
  return said.partial ? "partial" : "done";
}

function waitingWords(position) {
  if (!position) return "Waiting for a free place";
  return position === 1 ? "Waiting: one message is answered first" : `Waiting: ${position} messages are answered first`;
}

// What became of a failed turn, with times of the reader's own clock.
export function errorDetail(error) {
  return error?.retry_at ? withLocalTime(error.detail, timeOf(error.retry_at)) : error?.detail;
}

// Whether asking again may help, now or later.
function mayPass(error) {
  return error?.retry_suggested !== false || Boolean(error.retry_at);
}

function waitsForPerson(approvals) {
  return approvals.some(({ who }) => who === "user") ? "Waits for your decision" : "Waits for an operator";
}

// Why what stood there is gone.
function beginningAgain(turn) {
  if (turn.retrying) return note("The model broke off; asking again");
  return turn.restarted ? note("Interrupted; writing it again") : null;
}

function note(text, symbol = null) {
  return element("p", { class: "note" }, symbol ? icon(symbol) : null, text);
}

function working() {
  return element("p", { class: "working", "aria-hidden": "true" }, element("span"), element("span"), element("span"));
}
