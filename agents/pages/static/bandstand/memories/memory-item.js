// One memory in the list: its text, where it comes from, and what one can do with it.

import { element, toolButton } from "../shared/dom.js";

const SOURCES = {
  turn: "said it in a chat",
  remember: "you asked for it in a chat",
  form: "you wrote it here",
  api: "a program wrote it",
  tool: "a tool found it",
  extraction: "understood from a chat",
  consolidation: "made of other memories",
};

const DATE = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });

const day = (text) => DATE.format(new Date(text));

// When, whence, who recalls it, and whether it still holds.
function describe(memory) {
  const source = SOURCES[memory.source] ?? memory.source;
  const parts = [day(memory.occurred_at), memory.source === "turn" && memory.speaker ? `${memory.speaker} ${source}` : source];
  if (memory.scope === "session") parts.push("for one chat");
  else parts.push(memory.agent ? `for ${memory.agent}` : "for all agents");
  if (memory.trust === "quarantined") parts.push("not used until it is reviewed");
  if (memory.valid_until) parts.push(`held until ${day(memory.valid_until)}`);
  if (memory.expires_at) parts.push(`forgotten on ${day(memory.expires_at)}`);
  return parts.join(" · ");
}

// `revise(memory, text)` and `forget(memory)` resolve to whether it was done.
export function memoryItem(memory, { revise, forget }) {
  const text = element("p", { class: "memory__text", dir: "auto" }, memory.text);
  const item = element("li", { class: memory.valid_until ? "memory memory--past" : "memory", "data-id": memory.id });
  const edit = toolButton("Correct", "pencil", () => openForm(), { shown: true, label: `Correct: ${memory.text.slice(0, 80)}` });
  const bin = toolButton("Forget", "bin", () => forget(memory), { shown: true, label: `Forget: ${memory.text.slice(0, 80)}` });
  const correctable = memory.tier === "long_term" && !memory.valid_until;
  const tools = element("div", { class: "memory__tools" }, correctable ? edit : null, bin);

  function close() {
    item.replaceChildren(text, element("p", { class: "memory__facts" }, describe(memory)), tools);
  }

  function cancel() {
    close();
    edit.focus();
  }

  function openForm() {
    const field = element("textarea", { class: "field", rows: "3", maxlength: "8192", dir: "auto", "aria-label": "What is right" });
    field.value = memory.text;
    const form = element(
      "form",
      { class: "memory__form" },
      field,
      element(
        "div",
        { class: "memory__tools" },
        element("button", { class: "button button--small", type: "submit" }, "Save"),
        element("button", { class: "button button--plain button--small", type: "button", onclick: cancel }, "Cancel"),
      ),
    );
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const words = field.value.trim();
      if (!words || words === memory.text) cancel();
      else await revise(memory, words);
    });
    form.addEventListener("keydown", (event) => {
      if (event.key === "Escape") cancel();
    });
    item.replaceChildren(form);
    field.focus();
  }

  close();
  return item;
}
