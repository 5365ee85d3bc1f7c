// What was sent from here and does not stand in the log yet.

import { plainText } from "./message-parts.js";

// Why the server will not take a message now, by the code of its error.
const REASONS = {
  turn_in_progress: "Waits for the answer before it",
  session_queue_full: "Waits: too many messages of this chat are not answered yet",
  rate_limited: "Waits: too many messages in a short time",
};

export class PendingMessages {
  constructor() {
    // id → {text, parent, stored?, turn?, after, reason?, until?}. `after` is the last ordinal that was known when it was
    // written. What is stored while a person answers has no turn.
    this.sent = new Map();
  }

  // `items` of the outbox.
  add(items, after) {
    for (const { id, text, parent } of items) if (!this.sent.has(id)) this.sent.set(id, { text, parent, after });
  }

  accepted(id, turn) {
    if (this.sent.has(id)) Object.assign(this.sent.get(id), { turn, stored: true });
  }

  // The server asked to send it later. Returns whether its note says why.
  delayed(id, code, waitMs) {
    const item = this.sent.get(id);
    if (!item || !REASONS[code]) return false;
    Object.assign(item, { reason: REASONS[code], until: performance.now() + waitMs });
    return true;
  }

  drop(id) {
    this.sent.delete(id);
  }

  clear() {
    this.sent.clear();
  }

  // What `conversation` does not show, in the order in which it was sent. The log may be faster than the acknowledgement
  // that names the turn, so a new message with the same words counts as well.
  items(conversation, connected, signedOut) {
    const questions = [...conversation.messages.values()].filter((message) => message.author === "user");
    const claimed = new Set();
    const items = [];
    for (const [id, item] of this.sent) {
      const { text, parent, turn, stored, after } = item;
      const match = questions.find(
        (message) =>
          !claimed.has(message.id) &&
          (turn ? message.turn === turn : message.ordinal > after && plainText(message.parts) === text),
      );
      if (match) {
        claimed.add(match.id);
        if (stored) this.sent.delete(id);
      } else {
        items.push({ key: id, text, parent, ...waitNote(item, connected, signedOut) });
      }
    }
    return items;
  }
}

// `counts`: the note says something else in a second.
function waitNote({ reason, until }, connected, signedOut) {
  if (signedOut) return { note: "Waits until you sign in" };
  if (!connected) return { note: "Waits for the connection" };
  if (!reason) return { note: "Sending…" };
  const seconds = Math.ceil((until - performance.now()) / 1000);
  return seconds > 2 ? { note: `${reason}. Sent again in ${seconds} s.`, counts: true } : { note: `${reason}.` };
}
