// The transport of `bandstand.v1` for one session: connect, resume, acknowledge, outbox, flow control. No DOM.
//
// Promises: every event is delivered once and in order, over any number of lost connections; a message handed to
// `send` is kept in `storage` until the server acknowledged it, and is sent again under the same id, so it is never
// lost and never doubled.

const PROTOCOL = "bandstand.v1";
// An `after` that lies in the future asks for a snapshot.
const NOTHING_YET = Number.MAX_SAFE_INTEGER;
const SEEN_EVERY_EVENTS = 100;
const SEEN_AFTER_MS = 500;
const PING_AFTER_MS = 20_000;
const SILENCE_MS = 35_000;
const BACKOFF_FIRST_MS = 400;
const BACKOFF_LIMIT_MS = 20_000;
const BUSY_BACKOFF_MS = 5_000;
const RESEND_AFTER_MS = 2_000;
const ANSWER_WITHIN_MS = 8_000;

const LOST = 1006; // how browsers name a connection that ended without a word
const Close = {
  PROTOCOL: 4400,
  UNAUTHENTICATED: 4401,
  FORBIDDEN: 4403,
  UNKNOWN_SESSION: 4404,
  OVERLOAD: 1013,
  RATE: 4429,
};

// Messages that were written and not yet acknowledged, oldest first. Tabs of one browser share them.
export class Outbox {
  constructor(storage, name) {
    this.storage = storage;
    this.name = name;
    this.unstored = null; // the items, where the browser refuses to keep any
  }

  items() {
    if (this.unstored) return this.unstored;
    try {
      const items = JSON.parse(this.storage.getItem(this.name) ?? "[]");
      return Array.isArray(items) ? items : [];
    } catch {
      return [];
    }
  }

  add(item) {
    this.#write([...this.items(), item]);
  }

  remove(id) {
    this.#write(this.items().filter((item) => item.id !== id));
  }

  #write(items) {
    try {
      if (items.length) this.storage.setItem(this.name, JSON.stringify(items));
      else this.storage.removeItem(this.name);
      this.unstored = null;
    } catch {
      this.unstored = items;
    }
  }
}

// Dispatches CustomEvents with `detail`:
//   status    {status: "connecting" | "live" | "offline" | "signed-out" | "gone" | "broken", retryInMs?}
//   snapshot  {seq, session, messages, turns}      the whole state; forget what was known
//   event     {seq, turn, event, data, at}         the next event of the log
//   outbox    {items}                              what still waits for an acknowledgement
//   accepted  {id, turn, seq}                      a message of the outbox is stored
//   refused   {id, text, code, detail}             a message of the outbox will not be taken
//   problem   {code, detail, retryable}            an error that no message caused
export class SessionClient extends EventTarget {
  constructor({ url, storage, outboxName, WebSocket = globalThis.WebSocket }) {
    super();
    this.url = url;
    this.WebSocket = WebSocket;
    this.outbox = new Outbox(storage, outboxName);
    this.seq = null;
    this.status = "offline";
    this.socket = null;
    this.stopped = true;
    this.attempts = 0;
    this.unreported = 0;
    this.asking = false; // whether a gap was met and its events were asked for
    this.lastHeard = 0;
    this.timers = {};
    this.wakeUp = () => this.#wakeUp();
    this.cutOff = () => this.socket && this.#closed(LOST);
  }

  // `after`: the seq of what is known already; without it the whole state comes first.
  open(after = null) {
    this.stopped = false;
    this.seq = after;
    globalThis.addEventListener?.("online", this.wakeUp);
    globalThis.addEventListener?.("offline", this.cutOff);
    globalThis.document?.addEventListener("visibilitychange", this.wakeUp);
    this.#tellOutbox();
    this.#connect();
  }

  close() {
    this.stopped = true;
    globalThis.removeEventListener?.("online", this.wakeUp);
    globalThis.removeEventListener?.("offline", this.cutOff);
    globalThis.document?.removeEventListener("visibilitychange", this.wakeUp);
    Object.values(this.timers).forEach(clearTimeout);
    this.#drop();
  }

  // Put `text` into the outbox and on its way. `parent`: the message after which a branch begins, null at the root; left
  // out, the conversation goes on at its end. Returns the id.
  send(text, parent = undefined) {
    const item = { id: newId(), text, parent, at: Date.now() };
    this.outbox.add(item);
    this.#tellOutbox();
    this.#sendMessage(item);
    return item.id;
  }

  // Do not sit out the rest of a wait.
  reconnect() {
    if (this.stopped || this.socket) return;
    this.attempts = 0;
    this.#connect();
  }

  cancel(turn) {
    return this.#transmit({ type: "turn.cancel", turn });
  }

  // --- connection ---

  #connect() {
    if (this.stopped || this.socket) return;
    clearTimeout(this.timers.reconnect);
    this.#setStatus("connecting");
    const socket = new this.WebSocket(this.url, PROTOCOL);
    this.socket = socket;
    socket.onopen = () => {
      this.lastHeard = Date.now();
      this.#transmit({ type: "resume", after: this.seq ?? NOTHING_YET });
      this.#watchForSilence();
    };
    socket.onmessage = (message) => {
      this.lastHeard = Date.now();
      this.#receive(JSON.parse(message.data));
    };
    socket.onclose = (close) => {
      if (socket === this.socket) this.#closed(close.code);
    };
  }

  #closed(code) {
    this.#drop();
    if (this.stopped) return;
    const final = {
      [Close.UNAUTHENTICATED]: "signed-out",
      [Close.FORBIDDEN]: "signed-out",
      [Close.UNKNOWN_SESSION]: "gone",
      [Close.PROTOCOL]: "broken",
    }[code];
    if (final) {
      this.stopped = true;
      this.#setStatus(final);
      return;
    }
    const busy = code === Close.RATE || code === Close.OVERLOAD;
    const base = Math.min(BACKOFF_LIMIT_MS, BACKOFF_FIRST_MS * 2 ** this.attempts++);
    const wait = Math.max(busy ? BUSY_BACKOFF_MS : 0, base) * (0.5 + Math.random() / 2);
    this.#setStatus("offline", { retryInMs: wait });
    this.timers.reconnect = setTimeout(() => this.#connect(), wait);
  }

  #drop() {
    const socket = this.socket;
    this.socket = null;
    this.unreported = 0;
    this.asking = false;
    clearTimeout(this.timers.seen);
    clearTimeout(this.timers.silence);
    clearTimeout(this.timers.resend);
    clearTimeout(this.timers.answer);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
  }

  // The network came back, or the person did.
  #wakeUp() {
    if (this.stopped || globalThis.document?.visibilityState === "hidden") return;
    if (!this.socket) {
      this.reconnect();
    } else if (Date.now() - this.lastHeard > PING_AFTER_MS) {
      this.#transmit({ type: "ping" });
    }
  }

  // A connection that died without a word is only noticed by its silence.
  #watchForSilence() {
    clearTimeout(this.timers.silence);
    this.timers.silence = setTimeout(() => {
      const silent = Date.now() - this.lastHeard;
      if (silent > SILENCE_MS) {
        this.#closed(LOST);
        return;
      }
      if (silent >= PING_AFTER_MS) this.#transmit({ type: "ping" });
      this.#watchForSilence();
    }, PING_AFTER_MS / 2);
  }

  #transmit(frame) {
    if (this.socket?.readyState !== 1) return false;
    this.socket.send(JSON.stringify(frame));
    return true;
  }

  #setStatus(status, more = {}) {
    this.status = status;
    this.#tell("status", { status, ...more });
  }

  // --- frames ---

  #receive(frame) {
    switch (frame.type) {
      case "ready":
        this.attempts = 0;
        this.#setStatus("live");
        this.#resend();
        break;
      case "event":
        this.#event(frame);
        break;
      case "resync":
        this.asking = false;
        this.seq = frame.seq;
        this.#tell("snapshot", frame);
        break;
      case "ack":
        if (frame.client_msg_id) this.#acknowledged(frame);
        break;
      case "error":
        this.#error(frame);
        break;
    }
  }

  #event(frame) {
    // Until the snapshot has come there is nothing to add to.
    if (this.seq === null || frame.seq <= this.seq) return;
    if ((frame.replaces_from ?? frame.seq) !== this.seq + 1) {
      if (!this.asking) this.asking = this.#transmit({ type: "resume", after: this.seq });
      return;
    }
    this.asking = false;
    this.seq = frame.seq;
    this.#tell("event", frame);
    this.#reportSeen();
  }

  #reportSeen() {
    this.unreported += 1;
    if (this.unreported >= SEEN_EVERY_EVENTS) {
      this.#sendSeen();
    } else if (this.unreported === 1) {
      this.timers.seen = setTimeout(() => this.#sendSeen(), SEEN_AFTER_MS);
    }
  }

  #sendSeen() {
    clearTimeout(this.timers.seen);
    this.unreported = 0;
    this.#transmit({ type: "seen", seq: this.seq });
  }

  // --- outbox ---

  #sendMessage(item) {
    if (this.status !== "live") return;
    // An undefined parent is left out of the JSON.
    this.#transmit({ type: "message.create", client_msg_id: item.id, text: item.text, parent: item.parent });
    // Somebody waits now: do not wait for the long silence that ends an idle connection.
    const sentAt = Date.now();
    clearTimeout(this.timers.answer);
    this.timers.answer = setTimeout(() => {
      if (this.lastHeard < sentAt) this.#closed(LOST);
    }, ANSWER_WITHIN_MS);
  }

  #resend() {
    clearTimeout(this.timers.resend);
    for (const item of this.outbox.items()) this.#sendMessage(item);
  }

  #acknowledged(frame) {
    this.outbox.remove(frame.client_msg_id);
    this.#tell("accepted", { id: frame.client_msg_id, turn: frame.turn, seq: frame.seq });
    this.#tellOutbox();
  }

  #error(frame) {
    const item = this.outbox.items().find((candidate) => candidate.id === frame.ref);
    if (!item) {
      this.#tell("problem", frame);
    } else if (frame.retryable) {
      clearTimeout(this.timers.resend);
      this.timers.resend = setTimeout(() => this.#resend(), frame.retry_after_ms ?? RESEND_AFTER_MS);
      this.#tell("problem", frame);
    } else {
      this.outbox.remove(item.id);
      this.#tell("refused", { ...item, code: frame.code, detail: frame.detail, resetsAt: frame.resets_at ?? null });
      this.#tellOutbox();
    }
  }

  #tellOutbox() {
    this.#tell("outbox", { items: this.outbox.items() });
  }

  #tell(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

// `crypto.randomUUID` exists only on secure origins; a first run is often plain HTTP on a local address.
export function newId() {
  if (globalThis.crypto.randomUUID) return globalThis.crypto.randomUUID();
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
