// The bar above the message box: a person was asked, or answers; and the forms to ask for one and to leave a message.

import { element, icon, setText, toolButton } from "../shared/dom.js";
import { describeHandoff } from "./handoff.js";
import { newId } from "./session-client.js";
import { lengthError } from "./text-input.js";

const LONGEST_REASON = 200;
const CHOICES = {
  wait: "Wait",
  message: "Leave a message",
  withdraw: "Go on with the agent",
};
const FORMS = {
  ask: {
    label: "What should a person help you with? (optional)",
    send: "Ask a person",
    rows: "1",
    longest: String(LONGEST_REASON),
    mayBeEmpty: true,
  },
  message: {
    label: "Your message. It stays in this chat: who comes reads it and answers here.",
    send: "Leave the message",
    rows: "3",
  },
};

export class HandoffBar {
  // `button` opens the form with which the user asks for a person. `actions`: ask(reason), leave(text, key) and withdraw()
  // resolve to whether the server has taken it; done() goes on with the message box.
  constructor({ node, button, actions }) {
    Object.assign(this, { node, button, actions });
    this.notice = element("div", { class: "handoff__notice" });
    this.place = element("div");
    node.replaceChildren(this.notice, this.place);
    button.addEventListener("click", () => this.#open("ask"));
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.form) return;
      event.stopPropagation();
      this.#close();
    });
    this.clear();
  }

  // Forget what was chosen and written for the chat that was open.
  clear() {
    this.conversation = null;
    this.form = null; // of FORMS
    this.patient = false; // whether the user has chosen to wait
    this.sending = false;
    this.drawn = null;
    this.button.hidden = true;
    this.node.hidden = true;
    this.place.replaceChildren();
  }

  update(conversation, mayAsk) {
    this.conversation = conversation;
    const { handoff } = conversation;
    this.button.hidden = !mayAsk || !conversation.offersHandoff || Boolean(handoff);
    if (!handoff) this.patient = false;
    // Another window, or a person, was faster.
    if (this.form && !this.sending && (conversation.controlled || (this.form === "ask") === Boolean(handoff))) this.#close();
    this.#draw();
  }

  #draw() {
    const view = this.conversation && describeHandoff(this.conversation, this);
    this.node.hidden = !view && !this.form;
    this.node.dataset.tone = view?.tone ?? "ask";
    const shape = JSON.stringify([view, this.form]);
    if (shape === this.drawn) return;
    this.drawn = shape;
    const focused = this.notice.contains(document.activeElement);
    this.notice.replaceChildren(...(view ? this.#notice(view) : []));
    if (focused && !this.form) this.actions.done(); // the button that had the focus is gone
  }

  #notice({ words, detail, choices }) {
    const text = element(
      "div",
      { class: "handoff__words" },
      element("p", { class: "handoff__title", dir: "auto" }, words),
      detail ? element("p", {}, detail) : null,
    );
    if (choices.includes("dismiss")) return [icon("person"), text, toolButton("Dismiss", "close", () => this.#choose("dismiss"))];
    const buttons = choices.map((choice, index) => {
      const first = index === 0 && choices.length > 1;
      const look = first ? "button button--small" : "button button--plain button--small";
      return element("button", { type: "button", class: look, onclick: () => this.#choose(choice) }, CHOICES[choice]);
    });
    return [icon("person"), text, this.form ? "" : element("div", { class: "handoff__choices" }, ...buttons)];
  }

  #choose(choice) {
    if (choice === "message") {
      this.#open("message");
    } else if (choice === "withdraw") {
      this.#send(() => this.actions.withdraw());
    } else {
      if (choice === "wait") {
        this.patient = true;
        this.conversation.overdue = false;
      } else {
        this.conversation.handoffEnd = null;
      }
      this.#draw();
    }
  }

  #open(form) {
    this.form = form;
    this.place.replaceChildren(this.#formNode(form));
    this.#draw();
    this.place.querySelector("textarea").focus();
  }

  #close() {
    const focused = this.place.contains(document.activeElement);
    this.form = null;
    this.place.replaceChildren();
    this.#draw();
    if (focused) this.#goBack();
  }

  #goBack() {
    const next = this.button.hidden ? this.notice.querySelector("button") : this.button;
    if (next) next.focus();
    else this.actions.done();
  }

  #formNode(name) {
    const { label, send, rows, longest = null, mayBeEmpty = false } = FORMS[name];
    const field = element("textarea", { class: "editor__text", dir: "auto", rows, maxlength: longest });
    const problem = element("p", { class: "editor__problem", role: "status" });
    const form = element(
      "form",
      { class: "handoff__form" },
      element("label", {}, label, field),
      problem,
      element(
        "div",
        { class: "editor__actions" },
        element("button", { type: "button", class: "button button--plain button--small", onclick: () => this.#close() }, "Cancel"),
        element("button", { type: "submit", class: "button button--small" }, send),
      ),
    );
    let attempt = {}; // the same words under the same key, so that they are stored once
    field.addEventListener("input", () => setText(problem, lengthError(field.value) ?? ""));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const text = field.value.trim();
      if ((!text && !mayBeEmpty) || lengthError(text)) return;
      if (attempt.text !== text) attempt = { text, key: newId() };
      const taken = await this.#send(() => (name === "ask" ? this.actions.ask(text) : this.actions.leave(text, attempt.key)));
      // What was written stays until the server has taken it.
      if (!taken || !form.isConnected) return;
      this.patient = name === "message";
      this.#close();
      this.actions.done();
    });
    return form;
  }

  // Resolves to whether `act` was taken, for the chat that is still open.
  async #send(act) {
    if (this.sending) return false;
    const { conversation } = this;
    this.#mark(true);
    const taken = await act();
    if (this.conversation?.session.id !== conversation.session.id) return false;
    this.#mark(false);
    return taken;
  }

  // The buttons can still be reached by key: one that is disabled loses the focus.
  #mark(sending) {
    this.sending = sending;
    for (const button of this.node.querySelectorAll("button")) button.setAttribute("aria-disabled", String(sending));
  }
}
