// Where people write. What is not sent yet outlives a reload of the page.

const TALLEST_PX = 240;

export class Composer {
  // `submit(text)` resolves to whether the text is in good hands; `maySend()` says whether there is somebody to send to.
  constructor({ form, text, send, draftName, submit, maySend, editLast }) {
    Object.assign(this, { form, text, send, draftName, submit, maySend, editLast });
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
    this.key = `${this.draftName}${id ?? "new"}`;
    this.text.value = read(this.key);
    this.#fit();
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
    this.#fit();
  }

  #fit() {
    this.send.disabled = !this.text.value.trim() || !this.maySend();
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, TALLEST_PX)}px`;
  }

  #key(event) {
    const touch = matchMedia("(pointer: coarse)").matches;
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !touch) {
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
