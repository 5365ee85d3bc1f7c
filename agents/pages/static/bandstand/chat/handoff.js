// What the page says of a person who is to answer in place of the agent, and what its user may choose. No DOM.

const NAMELESS = "A person";

// Who was asked, by who asks; as `HandoffSource` of `agents/domain/handoffs.py`.
const REQUESTED = {
  user: "You asked for a person.",
  tool: "The agent has asked for a person.",
  fallback: "A person was asked to take over, since no model answers just now.",
};
// As the reasons of `agents/journal/handoff_rules.py`.
const RULES = {
  failed_turns: "A person was asked to take over, since answers have failed.",
  refused_call: "A person was asked to take over, since a call was refused.",
  thumb_down: "A person was asked to take over, since you did not like an answer.",
};
const ENDS = {
  returned: (name) => `${name} has given the chat back: the agent goes on.`,
  resolved: (name) => `${name} is done: the agent answers what comes next.`,
  timed_out: (name) => `${name === NAMELESS ? "Nobody came" : `${name} has not answered`} in time. The agent answers what you write.`,
};
const AGAIN = "The agent answers again.";

// Nobody has come for as long as the release says.
const TARDY = {
  detail: "Nobody has come yet. You can go on waiting, leave a message, or go on with the agent.",
  choices: ["wait", "message", "withdraw"],
  tone: "absent",
};

export const personName = (assignee) => assignee ?? NAMELESS;

// What stands above the message box: {words, detail, choices, tone}, or null for nothing. `choices` are of "wait", "message",
// "withdraw" and "dismiss"; `patient`: the user has chosen to wait.
export function describeHandoff({ handoff, handoffEnd, overdue, offersHandoff, hasLeftMessage }, { patient = false } = {}) {
  if (handoff?.state === "open") {
    return {
      words: `${personName(handoff.assignee)} answers`,
      detail: overdue
        ? "You have waited for an answer for a while. You can wait, or go on with the agent."
        : "A person reads what you write and answers here. The agent says nothing meanwhile.",
      choices: ["withdraw"],
      tone: "human",
    };
  }
  if (handoff) {
    const { detail, choices, tone } = overdue ? TARDY : waiting(handoff, patient, hasLeftMessage);
    const may = choices.filter((choice) => choice !== "message" || offersHandoff);
    return { words: requestWords(handoff), detail, choices: may, tone };
  }
  const end = ENDS[handoffEnd?.reason]; // who has withdrawn the request need not read so
  return end ? { words: end(personName(handoffEnd.assignee)), detail: "", choices: ["dismiss"], tone: "end" } : null;
}

function requestWords({ by, reason }) {
  return (by === "rule" ? RULES[reason] : REQUESTED[by]) ?? "A person was asked to take over.";
}

function waiting({ on_duty: onDuty }, patient, left) {
  if (onDuty !== false) {
    const there = onDuty ? "Somebody is there and will answer here." : "A person will answer here.";
    return { detail: `${there} Until then the agent goes on.`, choices: ["withdraw"], tone: "waits" };
  }
  if (patient || left) {
    const first = left ? "Your message is kept." : "Nobody is there just now.";
    return {
      detail: `${first} Who comes answers here, also while you are away; until then the agent goes on.`,
      choices: left ? ["withdraw"] : ["message", "withdraw"],
      tone: "waits",
    };
  }
  return {
    detail: "Nobody is there to answer just now. You can wait, leave a message, or go on with the agent.",
    choices: ["wait", "message", "withdraw"],
    tone: "absent",
  };
}

// What those who listen hear when an event has changed who answers.
export function handoffWords(conversation) {
  const { words, detail } = describeHandoff(conversation) ?? { words: AGAIN, detail: "" };
  return detail ? `${words.replace(/[^.]$/, "$&.")} ${detail}` : words;
}
