// What was sent from here and does not stand in the log yet.

import { plainText } from "./parts.js";

export class Pending {
  constructor() {
    // id → {text, parent, turn?, after}. `after` is the last ordinal that was known when it was written.
    this.sent = new Map();
  }

  // `items` of the outbox.
  add(items, after) {
    for (const { id, text, parent } of items) if (!this.sent.has(id)) this.sent.set(id, { text, parent, after });
  }

  accepted(id, turn) {
    if (this.sent.has(id)) this.sent.get(id).turn = turn;
  }

  drop(id) {
    this.sent.delete(id);
  }

  clear() {
    this.sent.clear();
  }

  // What `conversation` does not show, in the order in which it was sent. The log may be faster than the acknowledgement
  // that names the turn, so a new message with the same words counts as well.
  items(conversation, connected) {
    const asked = [...conversation.messages.values()].filter((message) => message.author === "user");
    const claimed = new Set();
    const items = [];
    for (const [id, { text, parent, turn, after }] of this.sent) {
      const shown = asked.find(
        (message) =>
          !claimed.has(message.id) &&
          (turn ? message.turn === turn : message.ordinal > after && plainText(message.parts) === text),
      );
      if (shown) {
        claimed.add(shown.id);
        if (turn) this.sent.delete(id);
      } else {
        items.push({ key: id, text, parent, note: connected ? "Sending…" : "Waits for the connection" });
      }
    }
    return items;
  }
}
