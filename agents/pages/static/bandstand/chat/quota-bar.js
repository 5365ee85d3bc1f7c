// The bar above the message box that says how much of a budget is used.

import { budgetMeter, element, icon, toolButton } from "../shared/dom.js";
import { timeOf } from "./question.js";
import { isCurrent, quotaWords } from "./quota.js";

const CHECK_MS = 60_000;

export class QuotaBar {
  // `storage` remembers under `name` which warning was dismissed, and `account` is the page that says more.
  constructor({ node, storage, name, account, done }) {
    Object.assign(this, { node, storage, name, account, done });
    this.warning = null;
    setInterval(() => this.#hideWhenOver(), CHECK_MS);
  }

  // Returns the words, or null where there is nothing to say that was not dismissed before.
  show(warning) {
    if (!isCurrent(warning, Date.now()) || this.storage.getItem(this.name) === keyOf(warning)) return null;
    this.warning = warning;
    const words = quotaWords(warning, timeOf(warning.resets_at));
    const percent = Math.min(100, warning.used_percent);
    const tone = percent >= 100 ? "bad" : "warn";
    this.node.dataset.tone = tone;
    this.node.replaceChildren(
      icon("alert"),
      element(
        "div",
        { class: "quota__words" },
        element("p", {}, `${words} `, element("a", { href: this.account }, "How much is left")),
        budgetMeter(percent, tone),
      ),
      toolButton("Dismiss", "close", () => this.#dismiss()),
    );
    this.node.hidden = false;
    return words;
  }

  #dismiss() {
    this.storage.setItem(this.name, keyOf(this.warning));
    this.node.hidden = true;
    this.done(); // the button that had the focus is gone
  }

  #hideWhenOver() {
    if (this.warning && !isCurrent(this.warning, Date.now())) this.node.hidden = true;
  }
}

function keyOf({ budget, resets_at: resetsAt }) {
  return `${budget} ${resetsAt}`;
}
