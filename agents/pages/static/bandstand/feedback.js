// Thumbs for one answer, and a comment for who wants to say more. Stored on the server, one per message and person.

import { element, toolButton } from "./dom.js";

const LONGEST_COMMENT = 2000;

export class FeedbackView {
  constructor(actions) {
    this.actions = actions;
    this.message = null;
    this.up = toolButton("Good answer", "up", () => this.#choose("up"));
    this.down = toolButton("Bad answer", "thumbdown", () => this.#choose("down"));
    this.buttons = element("div", { class: "feedback", role: "group", "aria-label": "Feedback" }, this.up, this.down);
    this.comment = element("textarea", { class: "editor__text", rows: "2", maxlength: String(LONGEST_COMMENT) });
    this.asking = element("span");
    this.form = element(
      "form",
      { class: "feedback__form", hidden: true, onsubmit: (event) => this.#send(event) },
      element("label", {}, this.asking, this.comment),
      element(
        "div",
        { class: "editor__actions" },
        element("button", { type: "button", class: "button button--plain button--small", onclick: () => this.#close() }, "Close"),
        element("button", { type: "submit", class: "button button--small" }, "Send comment"),
      ),
    );
    this.form.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.#close();
    });
  }

  update(message) {
    this.message = message;
    this.buttons.hidden = !message;
    this.#draw();
  }

  #draw() {
    const value = this.message?.feedback?.value ?? null;
    this.up.setAttribute("aria-pressed", String(value === "up"));
    this.down.setAttribute("aria-pressed", String(value === "down"));
  }

  async #choose(value) {
    const { message } = this;
    const before = message.feedback ?? null;
    const again = before?.value === value;
    message.feedback = again ? null : { value, comment: before?.comment ?? "" };
    this.#draw();
    if (again) this.#close();
    else this.#open(value);
    if (await this.actions.feedback(message, message.feedback)) {
      this.actions.announce(again ? "Feedback taken back." : "Thank you for the feedback.");
    } else {
      message.feedback = before;
      this.#draw();
      this.#close();
    }
  }

  #open(value) {
    this.asking.textContent = value === "up" ? "What was good about it? (optional)" : "What was wrong with it? (optional)";
    this.comment.value = this.message.feedback.comment ?? "";
    this.form.hidden = false;
    this.form.scrollIntoView({ block: "nearest" });
  }

  #close() {
    if (this.form.contains(document.activeElement)) this.up.focus();
    this.form.hidden = true;
  }

  async #send(event) {
    event.preventDefault();
    const { message } = this;
    const before = message.feedback;
    message.feedback = { ...before, comment: this.comment.value.trim() };
    if (await this.actions.feedback(message, message.feedback)) {
      this.actions.announce("Thank you for the comment.");
      this.#close();
    } else {
      message.feedback = before;
    }
  }
}
