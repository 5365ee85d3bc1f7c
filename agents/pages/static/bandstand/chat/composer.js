// Where people write. What is not sent yet outlives a reload of the page.

import { setText } from "../shared/dom.js";
import { autosize, isSendKey, lengthError } from "./text-input.js";

const TALLEST_PX = 240;

export class Composer {
  // `submit(text)` resolves to whether the text is in good hands; `maySend()` says whether there is somebody to send to.
  constructor({ form, text, send, problem, draftName, submit, maySend, editLast }) {
    Object.assign(this, { form, text, send, problem, draftName, submit, maySend, editLast });
    this.key = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    text.addEventListener("input", () => this.changed());
    text.addEventListener("keydown", (event) => this.#key(event));
  }

  // Turn to the chat `id` (null: a new one), and to what was begun to be written there.
  enter(id) {
    const early = this.key === null ? this.text.value : ""; // before the page was ready
    this.key = `${this.draftName}${id ?? "new"}`;
    this.text.value = read(this.key) || early;
    this.#draw();
  }

  put(text) {
    this.text.value = text;
    this.changed();
  }

  get value() {
    return this.text.value;
  }

  focus() {
    this.text.focus();
  }

  changed() {
    write(this.key, this.text.value);
    this.#draw();
  }

  #draw() {
    const problem = lengthError(this.text.value);
    setText(this.problem, problem ?? "");
    this.send.disabled = !this.text.value.trim() || Boolean(problem) || !this.maySend();
    autosize(this.text, TALLEST_PX);
  }

  #key(event) {
    if (isSendKey(event)) {
      event.preventDefault();
      this.#submit();
    } else if (event.key === "ArrowUp" && !this.text.value && this.editLast()) {
      event.preventDefault();
    }
  }

  async #submit() {
    const text = this.text.value;
    if (!text.trim() || this.send.disabled) return;
    this.put("");
    if (!(await this.submit(text)) && !this.text.value) this.put(text);
  }
}

// A browser may refuse to keep anything; then a draft lives as long as the page.
function read(key) {
  try {
    return sessionStorage.getItem(key) ?? "";
  } catch {
    return "";
  }
}

function write(key, text) {
  try {
    if (text) sessionStorage.setItem(key, text);
    else sessionStorage.removeItem(key);
  } catch {
    // See above.
  }
}
