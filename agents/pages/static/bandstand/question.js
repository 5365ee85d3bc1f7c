// What somebody asked, the editor that asks it anew, and the way to its other branches.

import { copy } from "./clipboard.js";
import { element, setText, toolButton } from "./dom.js";
import { plainText } from "./parts.js";

export class QuestionView {
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.text = plainText(message.parts);
    // A program that went on with this chat over /v1 may have sent the results of its tools, and no words.
    this.bubble = element("div", { class: "question__text", dir: "auto" }, this.text || "Results of a program’s tools");
    this.branches = new BranchSwitch(actions);
    this.tools = element(
      "div",
      { class: "tools question__tools" },
      element("time", { class: "question__time", datetime: message.created_at }, timeOf(message.created_at)),
      toolButton("Copy your message", "copy", (event) => this.#copy(event.currentTarget)),
      (this.pencil = toolButton("Edit your message", "pencil", () => this.edit())),
      this.branches.node,
    );
    this.pencil.hidden = !this.text;
    this.node = element(
      "article",
      { class: "question" },
      element("h3", { class: "visually-hidden" }, "You"),
      this.bubble,
      this.tools,
    );
  }

  update({ message, branches }) {
    this.branches.update(message.id, branches);
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
    this.field = element("textarea", { class: "editor__text", "aria-label": "Your message", rows: "1", maxlength: "65536" });
    this.field.value = text;
    const saveNow = () => this.field.value.trim() && save(this.field.value);
    this.field.addEventListener("input", () => this.#fit());
    this.field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        cancel();
      } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        saveNow();
      }
    });
    this.node = element(
      "div",
      { class: "editor" },
      this.field,
      element(
        "div",
        { class: "editor__actions" },
        element("button", { type: "button", class: "button button--plain button--small", onclick: cancel }, "Cancel"),
        element("button", { type: "button", class: "button button--small", onclick: saveNow }, "Send"),
      ),
    );
  }

  focus() {
    this.#fit();
    this.field.focus();
    this.field.setSelectionRange(this.field.value.length, this.field.value.length);
  }

  #fit() {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight + 2, 400)}px`;
  }
}

// ‹ 2/3 ›
class BranchSwitch {
  constructor(actions) {
    this.previous = toolButton("Previous version", "left", () => this.#go(-1));
    this.next = toolButton("Next version", "right", () => this.#go(1));
    this.count = element("span", { class: "branches__count" });
    this.node = element(
      "div",
      { class: "branches", role: "group", "aria-label": "Versions of this message", hidden: true },
      this.previous,
      this.count,
      this.next,
    );
    this.actions = actions;
  }

  update(id, branches) {
    this.all = branches;
    this.index = branches.findIndex((branch) => branch.id === id);
    this.node.hidden = branches.length < 2;
    setText(this.count, `${this.index + 1}/${branches.length}`);
    // Not `disabled`: a button that has the focus would lose it.
    this.previous.setAttribute("aria-disabled", String(this.index <= 0));
    this.next.setAttribute("aria-disabled", String(this.index >= branches.length - 1));
  }

  focus(step) {
    (step < 0 ? this.previous : this.next).focus();
  }

  #go(step) {
    const branch = this.all[this.index + step];
    if (branch) this.actions.choose(branch, { step, index: this.index + step, count: this.all.length });
  }
}

function timeOf(moment) {
  const at = new Date(moment);
  const today = at.toDateString() === new Date().toDateString();
  return at.toLocaleString([], today ? { timeStyle: "short" } : { dateStyle: "medium", timeStyle: "short" });
}
