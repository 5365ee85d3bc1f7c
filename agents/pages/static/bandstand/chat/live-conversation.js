// A conversation that stays true: its newest window is read once, then every event of the log is applied to it. When the
// log cannot go on from there, or a branch comes up that is not loaded, the window is read again.

import * as api from "./api.js";
import { Conversation } from "./conversation.js";
import { SessionClient } from "./session-client.js";

const AGAIN_FIRST_MS = 500;
const AGAIN_LIMIT_MS = 15_000;

// Dispatches CustomEvents with `detail`:
//   loaded    {}                     `conversation` is new; forget what was known
//   event     the event              it has been applied
//   status, outbox, accepted, refused, problem      as the client does
export class LiveConversation extends EventTarget {
  constructor({ id, outboxName }) {
    super();
    this.id = id;
    this.conversation = null;
    this.seq = null;
    this.loading = false;
    this.closed = false;
    this.waiting = []; // events that came while the window was read
    this.attempts = 0;
    const scheme = location.protocol === "https:" ? "wss" : "ws";
    this.client = new SessionClient({
      url: `${scheme}://${location.host}/ws/sessions/${encodeURIComponent(id)}/`,
      storage: localStorage,
      outboxName,
    });
    for (const type of ["status", "outbox", "accepted", "refused", "problem"]) {
      this.client.addEventListener(type, ({ detail }) => this.#tell(type, detail));
    }
    this.client.addEventListener("snapshot", () => this.load());
    this.client.addEventListener("event", ({ detail }) => this.#take(detail));
  }

  get status() {
    return this.client.status;
  }

  open() {
    return this.load();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.client.close();
  }

  send(text, parent) {
    return this.client.send(text, parent);
  }

  cancel(turn) {
    return this.client.cancel(turn);
  }

  // Do not sit out the rest of a wait.
  retryNow() {
    if (this.timer) this.load();
    this.client.reconnect();
  }

  async load() {
    if (this.loading || this.closed) return;
    this.loading = true;
    clearTimeout(this.timer);
    this.timer = null;
    try {
      const window = await api.readWindow(this.id);
      if (!this.closed) this.#loaded(window);
    } catch (error) {
      if (!this.closed) this.#notLoaded(error);
    }
  }

  // Read the window before what is loaded. Returns whether there was one.
  async loadOlder() {
    const { conversation } = this;
    if (!conversation?.older || this.loadingOlder) return false;
    this.loadingOlder = true;
    try {
      const window = await api.readWindow(this.id, conversation.oldest);
      if (conversation !== this.conversation || this.closed) return false;
      conversation.prepend(window);
      return true;
    } finally {
      this.loadingOlder = false;
    }
  }

  #loaded(window) {
    this.loading = false;
    this.attempts = 0;
    this.seq = window.seq;
    this.conversation = new Conversation(window);
    this.#tell("loaded", {});
    const waiting = this.waiting;
    this.waiting = [];
    for (const event of waiting) this.#take(event);
    if (this.client.stopped) this.client.open(this.seq);
  }

  #notLoaded(error) {
    this.loading = false;
    if (error.signedOut || error.status === 403) this.#tell("status", { status: "signed-out" });
    else if (error.status === 404 || error.status === 422) this.#tell("status", { status: "gone" });
    else {
      const wait = error.retryAfterMs ?? Math.min(AGAIN_LIMIT_MS, AGAIN_FIRST_MS * 2 ** this.attempts++);
      this.timer = setTimeout(() => this.load(), wait);
      this.#tell("status", { status: "offline", retryInMs: wait });
    }
  }

  #take(event) {
    if (this.loading) {
      this.waiting.push(event);
    } else if (event.seq > this.seq) {
      if ((event.replaces_from ?? event.seq) !== this.seq + 1) {
        this.load();
        return;
      }
      this.seq = event.seq;
      this.conversation.apply(event);
      this.#tell("event", event);
      if (this.conversation.torn) this.load();
    }
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
