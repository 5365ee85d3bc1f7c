// The state of a conversation: a snapshot, and what each event of the log makes of it. The same law as
// `agents/rules/replay.py`. No DOM, no network.

// Add to `parts` what an event of a running turn shows.
function show(parts, type, data) {
  const last = parts.at(-1);
  switch (type) {
    case "message.delta":
      if (last?.type === "text") last.text += data.text;
      else parts.push({ type: "text", text: data.text });
      break;
    case "tool.started":
      parts.push({ type: "tool_call", id: data.call_id, name: data.name, arguments: data.arguments });
      break;
    case "tool.finished":
    case "tool.failed":
      parts.push({
        type: "tool_result",
        call_id: data.call_id,
        content: data.content,
        is_error: type === "tool.failed",
        outcome: data.outcome,
      });
      break;
  }
}

export class Conversation {
  constructor(snapshot) {
    this.session = snapshot.session;
    this.messages = new Map(snapshot.messages.map((message) => [message.id, message]));
    this.turns = new Map(Object.entries(snapshot.turns ?? {}));
  }

  // Apply one event. Returns the id of the turn that changed, or null.
  apply({ event: type, turn: turnId, data }) {
    if (type === "session.updated") {
      this.session = data.session;
    } else if (type === "message.created" || type === "message.completed") {
      this.messages.set(data.message.id, data.message);
    } else if (type.startsWith("turn.")) {
      this.#moveTurn(type.slice(5), turnId, data);
    } else {
      const turn = this.turns.get(turnId);
      if (turn) show(turn.shown, type, data);
    }
    return turnId;
  }

  #moveTurn(word, turnId, data) {
    let turn = this.turns.get(turnId);
    if (!turn) {
      if (word !== "queued") return;
      turn = { id: turnId, message: data.message, ordinal: data.ordinal, priority: data.priority, shown: [] };
      this.turns.set(turnId, turn);
    }
    switch (word) {
      case "completed":
        this.turns.delete(turnId);
        break;
      case "restarted":
        Object.assign(turn, { status: "running", shown: [], restarted: true });
        break;
      case "started":
        turn.status = "running";
        break;
      case "failed":
      case "cancelled":
      case "expired":
        Object.assign(turn, { status: word, shown: [], error: data.error ?? null });
        break;
      default:
        Object.assign(turn, { status: word, until: data.until ?? null });
    }
  }

  // The turn that a stop would stop: the one that is being worked on, else the first that waits.
  get openTurn() {
    const open = [...this.turns.values()]
      .filter((turn) => !ENDED.has(turn.status))
      .sort((a, b) => a.ordinal - b.ordinal);
    return open.find((turn) => turn.status === "running" || turn.status === "cancelling") ?? open[0] ?? null;
  }

  // What people read, in order: each question with its turn and its answer; what has no turn stands alone.
  exchanges() {
    const ordered = [...this.messages.values()].sort((a, b) => a.ordinal - b.ordinal);
    const exchanges = [];
    const byTurn = new Map();
    for (const message of ordered) {
      const asked = message.turn && byTurn.get(message.turn);
      if (asked && message.author === "agent") {
        asked.answer = message;
      } else {
        const exchange = { key: message.id, message, turn: this.turns.get(message.turn) ?? null, answer: null };
        exchanges.push(exchange);
        if (message.turn) byTurn.set(message.turn, exchange);
      }
    }
    return exchanges;
  }
}

export const ENDED = new Set(["completed", "failed", "cancelled", "expired"]);
