// What somebody asked, the editor that asks it anew, and the way to its other branches.

import { copy } from "../shared/clipboard.js";
import { element, icon, setText, toolButton } from "../shared/dom.js";
import { BranchSwitch } from "./branch-switch.js";
import { plainText } from "./message-parts.js";
import { autosize, isSendKey, lengthError } from "./text-input.js";

const TALLEST_PX = 400;

export class QuestionView {
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.text = plainText(message.parts);
    // A program that went on with this chat over /v1 may have sent the results of its tools, and no words.
    this.bubble = element("div", { class: "question__text", dir: "auto" }, this.text || "Results of a program’s tools");
    this.branches = new BranchSwitch("message", actions.choose);
    this.tools = element(
      "div",
      { class: "tools question__tools" },
      (this.leftNote = element("span", { class: "note question__left", hidden: true }, icon("person"), "Left for a person")),
      element("time", { class: "question__time", datetime: message.created_at }, timeOf(message.created_at)),
      toolButton("Copy your message", "copy", (event) => this.#copy(event.currentTarget)),
      (this.pencil = toolButton("Edit your message", "pencil", () => this.edit())),
      this.branches.node,
      scheduleNote(message),
    );
    this.pencil.classList.add("asks-agent");
    this.node = element(
      "article",
      { class: "question" },
      element("h2", { class: "visually-hidden" }, "You"),
      this.bubble,
      this.tools,
    );
  }

  update({ message, questions, left }) {
    this.leftNote.hidden = !left;
    this.pencil.hidden = !this.text || left; // asked anew, it would be the agent's to answer
    this.branches.update(message.id, questions);
  }

  // Write the question anew. The old one stays, with its answer, as a branch.
  edit() {
    if (this.editor) return;
    this.editor = new QuestionEditor(this.text, {
      save: (text) => {
        this.#close();
        this.actions.ask(text, this.message.parent);
      },
      cancel: () => {
        this.#close();
        this.pencil.focus();
      },
    });
    this.node.classList.add("question--edited");
    this.bubble.replaceWith(this.editor.node);
    this.tools.hidden = true;
    this.editor.focus();
  }

  #close() {
    this.editor.node.replaceWith(this.bubble);
    this.editor = null;
    this.node.classList.remove("question--edited");
    this.tools.hidden = false;
  }

  #copy(button) {
    copy(this.text, button);
    this.actions.announce("Copied.");
  }
}

class QuestionEditor {
  constructor(text, { save, cancel }) {
    this.field = element("textarea", { class: "editor__text", dir: "auto", "aria-label": "Your message", rows: "1" });
    this.field.value = text;
    const saveNow = () => this.field.value.trim() && !lengthError(this.field.value) && save(this.field.value);
    this.field.addEventListener("input", () => this.#changed());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      } else if (isSendKey(event)) {
        event.preventDefault();
        saveNow();
      }
    });
    this.problem = element("p", { class: "editor__problem", role: "status" });
    this.node = element(
      "div",
      { class: "editor" },
      this.field,
      this.problem,
      element(
        "div",
        { class: "editor__actions" },
        element("button", { type: "button", class: "button button--plain button--small", onclick: cancel }, "Cancel"),
        element("button", { type: "button", class: "button button--small", onclick: saveNow }, "Send"),
      ),
    );
  }

  focus() {
    this.#changed();
    this.field.focus();
    this.field.setSelectionRange(this.field.value.length, this.field.value.length);
  }

  #changed() {
    autosize(this.field, TALLEST_PX);
    setText(this.problem, lengthError(this.field.value) ?? "");
  }
}

// That a schedule of the user's sent it; null for what was written here.
function scheduleNote({ parts }) {
  const schedule = parts.find((part) => part.schedule)?.schedule;
  return schedule ? element("a", { class: "question__schedule", href: `/schedules/#${schedule}` }, icon("clock"), "Sent by a schedule") : null;
}

export function timeOf(moment) {
  const at = new Date(moment);
  const today = at.toDateString() === new Date().toDateString();
  return at.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}
