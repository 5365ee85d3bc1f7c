// Thumbs for one answer, and a comment for who wants to say more. Stored on the server, one per message and person.

import { element, toolButton } from "../shared/dom.js";

const LONGEST_COMMENT = 2000;

export class FeedbackView {
  constructor(actions) {
    this.actions = actions;
    this.message = null;
    this.up = toolButton("Good answer", "up", () => this.#choose("up"));
    this.down = toolButton("Bad answer", "thumbdown", () => this.#choose("down"));
    this.buttons = element("div", { class: "feedback", role: "group", "aria-label": "Feedback" }, this.up, this.down);
    // Holds the form while it is open, and only then: browsers go through all fields of a page whenever it changes, and
    // a long conversation would have a thousand.
    this.place = element("div", { class: "feedback__place" });
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
    const previous = message.feedback ?? null;
    const again = previous?.value === value;
    message.feedback = again ? null : { value, comment: previous?.comment ?? "" };
    this.#draw();
    if (again) this.#close();
    else this.#open(value);
    if (await this.actions.feedback(message, message.feedback)) {
      this.actions.announce(again ? "Feedback taken back." : "Thank you for the feedback.");
    } else {
      message.feedback = previous;
      this.#draw();
      this.#close();
    }
  }

  #open(value) {
    const form = commentForm({
      label: value === "up" ? "What was good about it? (optional)" : "What was wrong with it? (optional)",
      comment: this.message.feedback.comment ?? "",
      send: (comment) => this.#send(comment),
      close: () => this.#close(),
    });
    this.place.replaceChildren(form);
    form.scrollIntoView({ block: "nearest" });
  }

  #close() {
    if (this.place.contains(document.activeElement)) this.up.focus();
    this.place.replaceChildren();
  }

  async #send(comment) {
    const { message } = this;
    const previous = message.feedback;
    message.feedback = { ...previous, comment };
    if (await this.actions.feedback(message, message.feedback)) {
      this.actions.announce("Thank you for the comment.");
      this.#close();
    } else {
      message.feedback = previous;
    }
  }
}

function commentForm({ label, comment, send, close }) {
  const field = element("textarea", { class: "editor__text", dir: "auto", rows: "2", maxlength: String(LONGEST_COMMENT) });
  field.value = comment;
  const form = element(
    "form",
    { class: "feedback__form" },
    element("label", {}, label, field),
    element(
      "div",
      { class: "editor__actions" },
      element("button", { type: "button", class: "button button--plain button--small", onclick: close }, "Close"),
      element("button", { type: "submit", class: "button button--small" }, "Send comment"),
    ),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    send(field.value.trim());
  });
  form.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    event.stopPropagation();
    close();
  });
  return form;
}
