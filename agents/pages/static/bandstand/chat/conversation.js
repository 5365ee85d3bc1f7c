// The state of a conversation: a window of its messages, and what each event of the log makes of it. The same law as
// `agents/domain/replay.py`. No DOM, no network.

export const ENDED = new Set(["completed", "failed", "cancelled", "expired"]);

const WORDS = new Set(["text", "reasoning"]);

// Make of `parts` what an event of a running turn shows.
function show(parts, type, data) {
  switch (type) {
    case "message.delta":
      extend(parts, "text", data.text);
      break;
    case "reasoning.delta":
      extend(parts, "reasoning", data.text);
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
    case "model.retrying":
      // The words of the attempt that failed.
      while (WORDS.has(parts.at(-1)?.type)) parts.pop();
      break;
  }
}

// Calls of a turn that wait until a person agrees, and what became of them.
function decide(turn, type, data) {
  if (type === "approval.requested") {
    turn.approvals = [...(turn.approvals ?? []), data];
  } else if (type === "approval.decided") {
    turn.approvals = (turn.approvals ?? []).filter(({ approval }) => approval !== data.approval);
    turn.decisions = [...(turn.decisions ?? []), data];
  }
}

function extend(parts, type, text) {
  const last = parts.at(-1);
  if (last?.type === type) Object.assign(last, { text: last.text + text, html: null });
  else parts.push({ type, text });
}

export class Conversation {
  // `window`: {seq, session, messages, turns, branches?, older?, handoff?, offers_handoff?}, as the server's `read_window`.
  constructor(window) {
    this.session = window.session;
    this.messages = new Map(window.messages.map((message) => [message.id, message]));
    this.turns = new Map(Object.entries(window.turns ?? {}));
    this.branches = new Map(Object.entries(window.branches ?? {}));
    this.known = null; // the tree, until a message is added
    this.older = window.older ?? false;
    this.handoff = window.handoff ?? null; // {state, reason, by, on_duty, assignee}: a person is wanted, or answers
    this.requestedAfter = null; // the ordinal of the last message before it, if the page has seen the request
    this.overdue = false; // whether the user has waited as long as the release says, since the page is open
    this.handoffEnd = null; // {reason, assignee}: how the last one ended, while the page is open
    this.offersHandoff = window.offers_handoff ?? false; // whether the user may ask for a person
    this.head = window.session.head ?? window.messages.at(-1)?.id ?? null;
    this.revision = 0;
    this.#touchAll();
  }

  // Put an older window before what is there.
  prepend(window) {
    for (const message of window.messages) if (!this.messages.has(message.id)) this.messages.set(message.id, message);
    for (const [id, turn] of Object.entries(window.turns)) if (!this.turns.has(id)) this.turns.set(id, turn);
    for (const [id, branches] of Object.entries(window.branches)) this.branches.set(id, branches);
    this.known = null;
    this.older = window.older;
    this.#touchAll();
  }

  // Apply one event.
  apply({ event: type, turn: turnId, data }) {
    this.revision += 1;
    if (type === "session.updated") {
      this.session = data.session;
      this.head = data.session.head ?? this.head;
    } else if (type === "message.created" || type === "message.completed") {
      this.#add(data.message);
    } else if (type === "message.rated") {
      const message = this.messages.get(data.message);
      if (message) this.#put({ ...message, feedback: data.feedback });
    } else if (type.startsWith("turn.")) {
      this.#moveTurn(type.slice(5), turnId, data);
    } else if (type.startsWith("handoff.")) {
      this.#moveHandoff(type, data);
    } else {
      const turn = this.turns.get(turnId);
      if (!turn) return;
      show(turn.shown, type, data);
      decide(turn, type, data);
      turn.retrying = type === "model.retrying";
      turn.revision = this.revision;
    }
  }

  // Whether a person answers, in place of the agent.
  get controlled() {
    return this.handoff?.state === "open";
  }

  #moveHandoff(type, data) {
    switch (type) {
      case "handoff.requested":
        // Who asks once more meets the first request; the system says that nobody has come.
        this.overdue = data.by === "system" && Boolean(this.handoff);
        if (!this.handoff) this.requestedAfter = this.lastOrdinal;
        this.handoff ??= { state: "pending", reason: data.reason, by: data.by, on_duty: data.on_duty ?? null, assignee: null };
        this.handoffEnd = null;
        break;
      case "handoff.opened":
        this.handoff ??= { reason: data.reason, by: data.by, on_duty: null };
        this.handoff = { ...this.handoff, state: "open", assignee: data.assignee };
        this.handoffEnd = null;
        this.overdue = false;
        break;
      case "handoff.returned":
      case "handoff.resolved":
        this.handoffEnd = { reason: data.reason, assignee: data.assignee ?? this.handoff?.assignee ?? null };
        this.handoff = null;
        this.overdue = false;
        break;
    }
  }

  #touchAll() {
    this.revision += 1;
    for (const turn of this.turns.values()) turn.revision = this.revision;
  }

  get #tree() {
    this.known ??= new Tree(this.messages);
    return this.known;
  }

  #put(message) {
    this.messages.set(message.id, message);
    this.known = null;
  }

  #add(message) {
    this.#put(message);
    if (message.author === "human") this.overdue = false;
    // The server moves the head to a question at once, and to its answer when nothing followed the question meanwhile.
    if (message.author !== "agent" || this.head === message.parent) this.head = message.id;
  }

  #moveTurn(word, turnId, data) {
    let turn = this.turns.get(turnId);
    if (!turn) {
      if (word !== "queued") return;
      turn = { id: turnId, message: data.message, ordinal: data.ordinal, priority: data.priority, waits_for: null, shown: [], approvals: [] };
      this.turns.set(turnId, turn);
    }
    turn.revision = this.revision;
    turn.waits_for = data.for ?? null;
    switch (word) {
      case "completed":
        this.turns.delete(turnId);
        break;
      case "restarted":
        Object.assign(turn, { status: "running", shown: [], decisions: [], restarted: true, retrying: false });
        break;
      case "started":
        turn.status = "running";
        break;
      case "failed":
      case "cancelled":
      case "expired":
        Object.assign(turn, { status: word, shown: [], approvals: [], error: data.error ?? null, reason: data.reason ?? null });
        break;
      default:
        Object.assign(turn, { status: word, until: data.until ?? null });
    }
  }

  get openTurns() {
    return [...this.turns.values()].filter((turn) => !ENDED.has(turn.status)).sort((a, b) => a.ordinal - b.ordinal);
  }

  // The turn that a stop would stop: the one that is being worked on, else the first that waits.
  get openTurn() {
    const open = this.openTurns;
    return open.find((turn) => turn.status === "running" || turn.status === "cancelling") ?? open[0] ?? null;
  }

  // What people read, in order, along the branch of the head: each question with its turn, its answer and the versions of
  // both, as {id, head}; what has no turn stands alone. `left`: it waits for a person.
  exchanges() {
    const tree = this.#tree;
    const open = this.openTurns;
    const line = tree.line(this.head);
    const left = new Set(this.#left(line));
    return line.map((message) => {
      const turn = this.turns.get(message.turn) ?? null;
      const position = turn?.status === "queued" ? open.indexOf(turn) : null;
      const answer = tree.answerTo(message);
      return { key: message.id, message, turn, position, answer, left: left.has(message), ...this.#versions(tree, message) };
    });
  }

  // Whether the user has left a message for whoever comes.
  get hasLeftMessage() {
    return this.#left(this.#tree.line(this.head)).length > 0;
  }

  // Messages of `line` for a person who has not come yet. They have no turn, as those that were copied into a fork, where
  // an answer stands, and those to a person who has answered before.
  #left(line) {
    if (this.handoff?.state !== "pending") return NONE;
    const after = this.requestedAfter;
    let since = line.findLastIndex(({ author }) => author === "human") + 1;
    if (after === null && since) while (line[since]?.author === "user" && !line[since].turn) since += 1;
    return line.filter(
      ({ author, turn, ordinal }, index) =>
        index >= since &&
        ordinal > (after ?? -1) &&
        author === "user" &&
        !turn &&
        (line[index + 1]?.author !== "agent" || line[index + 1].turn),
    );
  }

  // Whether messages between what is loaded and the head are missing: then the window has to be read again.
  get torn() {
    const first = this.#tree.line(this.head)[0];
    return Boolean(this.head) && (!first || (Boolean(first.parent) && !this.older));
  }

  get oldest() {
    return this.#tree.line(this.head)[0]?.id ?? null;
  }

  get lastOrdinal() {
    return Math.max(0, ...[...this.messages.values()].map((message) => message.ordinal));
  }

  // Branches with the words of `message` are versions of its answer, those with other words versions of the question.
  #versions(tree, message) {
    const siblings = this.#siblings(tree, message);
    if (!siblings.length) return { questions: NONE, answers: NONE };
    const { asks } = siblings.find(({ id }) => id === message.id);
    const questions = new Map(siblings.map((branch) => [branch.asks, branch]));
    questions.set(asks, { id: message.id });
    return { questions: [...questions.values()], answers: siblings.filter((branch) => branch.asks === asks) };
  }

  // The branches beside `message`, oldest first, itself among them: {id, head, asks}, as `read_window` describes them.
  #siblings(tree, message) {
    const loaded = tree.siblings(message);
    const listed = this.#listed(loaded);
    if (!listed.length && loaded.length < 2) return NONE;
    const branches = new Map(listed.map((branch) => [branch.id, branch]));
    for (const other of loaded) {
      const asks = branches.get(other.id)?.asks ?? branches.get(loaded.find((one) => sameWords(one, other)).id)?.asks;
      branches.set(other.id, { id: other.id, head: tree.newestBelow(other), asks: asks ?? other.id });
    }
    return [...branches.values()];
  }

  // The server's list of the branches that these belong to. One that came later does not stand in it.
  #listed(loaded) {
    if (!this.branches.size) return NONE;
    const ids = new Set(loaded.map(({ id }) => id));
    for (const list of this.branches.values()) if (list.some(({ id }) => ids.has(id))) return list;
    return NONE;
  }
}

const NONE = [];

function sameWords(one, other) {
  const same = (part, index) => part.text === other.parts[index].text && part.content === other.parts[index].content;
  return one.parts.length === other.parts.length && one.parts.every(same);
}

// The tree of the loaded messages, by the rules of `agents/domain/message_tree.py`.
class Tree {
  constructor(messages) {
    this.messages = messages;
    this.asked = new Map();
    this.answers = new Map();
    for (const message of messages.values()) {
      if (message.turn) (message.author === "agent" ? this.answers : this.asked).set(message.turn, message);
    }
    this.following = null;
  }

  answerTo(message) {
    return message.author === "agent" || !message.turn ? null : (this.answers.get(message.turn) ?? null);
  }

  line(head) {
    const path = [];
    let message = this.messages.get(head);
    while (message) {
      const question = this.#question(message);
      path.push(question);
      message = this.messages.get(question.parent);
    }
    return path.reverse();
  }

  siblings(message) {
    return this.#children().get(this.#parentId(message)) ?? [message];
  }

  newestBelow(message) {
    const following = this.#children();
    for (let next; (next = following.get(message.id)?.at(-1)); ) message = next;
    return (this.answerTo(message) ?? message).id;
  }

  #question(message) {
    return message.author === "agent" ? (this.asked.get(message.turn) ?? message) : message;
  }

  // The id of the place that `message` follows; where that is not loaded, the id that the message names.
  #parentId(message) {
    const parent = this.messages.get(message.parent);
    return parent ? this.#question(parent).id : message.parent;
  }

  #children() {
    if (this.following) return this.following;
    this.following = new Map();
    for (const message of [...this.messages.values()].sort((a, b) => a.ordinal - b.ordinal)) {
      if (this.#question(message) !== message) continue;
      const parentId = this.#parentId(message);
      if (!this.following.has(parentId)) this.following.set(parentId, []);
      this.following.get(parentId).push(message);
    }
    return this.following;
  }
}
