// What the page has to say beside the conversation: a notice above the composer, the state of the connection, and words
// for those who listen.

import { cutText } from "../shared/cut-text.js";
import { copy } from "../shared/clipboard.js";
import { element, setText, toolButton } from "../shared/dom.js";

const CONCERNS_NOBODY_MS = 700; // a reconnection that takes a moment
const LONGEST_ANNOUNCEMENT = 2000;

export class Notice {
  constructor(node) {
    this.node = node;
  }

  // `choice`: {label, action}; `reference`: the id of an error, for support.
  show(words, { choice = null, reference = null } = {}) {
    const close = toolButton("Dismiss", "close", () => this.hide());
    this.node.replaceChildren(
      element(
        "div",
        {},
        element("p", {}, words),
        reference
          ? element(
              "p",
              { class: "failure__id" },
              "Reference ",
              element("code", {}, reference),
              toolButton("Copy", "copy", (event) => copy(reference, event.currentTarget), { shown: true, label: "Copy the reference" }),
            )
          : null,
      ),
      choice ? element("button", { type: "button", class: "button button--plain button--small", onclick: choice.action }, choice.label) : "",
      close,
    );
    this.node.hidden = false;
  }

  hide() {
    this.node.hidden = true;
  }
}

export class ConnectionBanner {
  constructor(node, retryNow) {
    this.node = node;
    this.words = node.querySelector("span");
    this.retry = node.querySelector("button");
    this.retry.addEventListener("click", retryNow);
  }

  // `status` as the client tells it. `known`: there is something on the page already.
  update({ status, retryInMs = null }, known) {
    clearTimeout(this.timer);
    clearInterval(this.countdown);
    const words = this.#wordsFor(status, known);
    if (!words) {
      this.node.hidden = true;
      return;
    }
    const at = retryInMs && performance.now() + retryInMs;
    const show = () => {
      const seconds = at ? Math.ceil((at - performance.now()) / 1000) : 0;
      setText(this.words, seconds > 1 ? `${words} Next attempt in ${seconds} s.` : words);
      this.retry.hidden = status !== "offline" || seconds <= 1;
      this.node.hidden = false;
    };
    if (!this.node.hidden || status === "broken") show();
    else this.timer = setTimeout(show, CONCERNS_NOBODY_MS);
    if (at) this.countdown = setInterval(() => !this.node.hidden && show(), 1000);
  }

  hide() {
    clearTimeout(this.timer);
    clearInterval(this.countdown);
    this.node.hidden = true;
  }

  #wordsFor(status, known) {
    switch (status) {
      case "connecting":
        return known ? "Reconnecting…" : null;
      case "offline":
        return navigator.onLine === false ? "You are offline. What you send waits here." : "Connection lost. What you send waits here.";
      case "broken":
        return "This page is out of date. Please reload it.";
      default:
        return null;
    }
  }
}

export class Announcer {
  constructor(node) {
    this.node = node;
  }

  say(words) {
    // The same words again are said again only when they have been away.
    if (this.node.textContent === words) this.node.textContent = "";
    setText(this.node, cutText(words, LONGEST_ANNOUNCEMENT));
  }
}
