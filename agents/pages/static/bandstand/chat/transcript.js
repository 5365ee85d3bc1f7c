// The list of exchanges on the page, kept equal to the conversation.

import { copy } from "../shared/clipboard.js";
import { arrange } from "../shared/dom.js";
import { ExchangeView, PendingView } from "./exchange.js";

export class Transcript {
  // `actions`:
  //   cancel(turnId)                       stop a turn
  //   ask(text, parent)                    ask in a branch after the message `parent`
  //   decide(turnId, approvalId, decision, note)      resolves to whether it is stored
  //   choose({id, head}, {of, step, …})    show another version, of a question or of an answer
  //   feedback(message, feedback|null)     store it; resolves to whether it is stored
  //   announce(words)                      for those who listen
  constructor(list, { actions, renderer }) {
    this.list = list;
    this.parts = { actions, renderer };
    this.views = new Map();
    this.pendingViews = new Map();
    list.addEventListener("click", ({ target }) => {
      const button = target.closest('[data-copy="code"]');
      if (button) copy(button.closest(".code").querySelector("pre").textContent, button);
    });
  }

  clear() {
    this.views.clear();
    this.pendingViews.clear();
    this.list.replaceChildren();
  }

  // Draw all exchanges, then the messages of the outbox that the log does not show yet.
  draw(exchanges, pending) {
    this.#reconcile(this.views, exchanges, (exchange) => new ExchangeView(exchange, this.parts));
    this.#reconcile(this.pendingViews, pending, (item) => new PendingView(item));
    const views = [...exchanges.map(({ key }) => this.views.get(key)), ...pending.map(({ key }) => this.pendingViews.get(key))];
    arrange(
      this.list,
      views.map(({ node }) => node),
    );
  }

  // Open the editor of the last question. Returns whether there is one.
  editLast() {
    const shown = [...this.list.querySelectorAll("[data-message]")].map((node) => this.views.get(node.dataset.message));
    const question = shown.findLast((view) => view?.question)?.question;
    question?.edit();
    return Boolean(question);
  }

  get firstNode() {
    return this.list.firstElementChild;
  }

  // Put the focus on the button that went from one version to the next, in the one that is shown now.
  focusVersions(key, { of, step }) {
    this.views.get(key)?.versions(of)?.focus(step);
  }

  nodeOf(key) {
    return this.views.get(key)?.node ?? null;
  }

  #reconcile(views, items, make) {
    const keys = new Set(items.map((item) => item.key));
    for (const key of views.keys()) if (!keys.has(key)) views.delete(key);
    for (const item of items) {
      if (!views.has(item.key)) views.set(item.key, make(item));
      views.get(item.key).update(item);
    }
  }
}
