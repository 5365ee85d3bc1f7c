// ‹ 2/3 › leads from one version of a question, or of an answer, to the others.

import { element, setText, toolButton } from "../shared/dom.js";

export class BranchSwitch {
  // `of`: "message" or "answer". `choose({id, head}, {of, step, index, count})` shows another version.
  constructor(of, choose) {
    this.of = of;
    this.choose = choose;
    this.previous = toolButton("Previous version", "left", () => this.#go(-1));
    this.next = toolButton("Next version", "right", () => this.#go(1));
    this.count = element("span", { class: "branches__count" });
    this.node = element(
      "div",
      { class: "branches", role: "group", "aria-label": `Versions of this ${of}`, hidden: true },
      this.previous,
      this.count,
      this.next,
    );
  }

  // `branches`: all versions, that of the message `id` among them.
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
    const { of, all } = this;
    const index = this.index + step;
    if (all[index]) this.choose(all[index], { of, step, index, count: all.length });
  }
}
