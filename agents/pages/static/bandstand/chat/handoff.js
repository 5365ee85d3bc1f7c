// What the page says of a person who is to answer in place of the agent, and what its user may choose. No DOM.

const NAMELESS = "A person";

// Who was asked, by who asks; as `HandoffSource` of `agents/domain/handoffs.py`.
const REQUESTED = {
  user: "You asked for a person.",
  tool: "The agent has asked for a person.",
};
const ENDS = {
  returned: (name) => `${name} has given the chat back: the agent goes on.`,
  resolved: (name) => `${name} is done: the agent answers what comes next.`,
  timed_out: () => "Nobody could take over in time. The agent answers what you write; you may ask for a person again.",
};
const AGAIN = "The agent answers again.";

export const personName = (assignee) => assignee ?? NAMELESS;

// What stands above the message box: {words, detail, choices, tone}, or null for nothing. `choices` are of "wait", "message",
// "withdraw" and "dismiss"; `patient`: the user has chosen to wait.
export function describeHandoff({ handoff, handoffEnd, offersHandoff }, { patient = false } = {}) {
  if (handoff?.state === "open") {
    return {
      words: `${personName(handoff.assignee)} answers`,
      detail: "A person reads what you write and answers here. The agent says nothing meanwhile.",
      choices: ["withdraw"],
      tone: "human",
    };
  }
  if (handoff) {
    const { detail, choices, tone } = waiting(handoff, patient);
    const may = choices.filter((choice) => choice !== "message" || offersHandoff);
    return { words: REQUESTED[handoff.by] ?? "A person was asked to take over.", detail, choices: may, tone };
  }
  const end = ENDS[handoffEnd?.reason]; // who has withdrawn the request need not read so
  return end ? { words: end(personName(handoffEnd.assignee)), detail: "", choices: ["dismiss"], tone: "end" } : null;
}

function waiting({ on_duty: onDuty }, patient) {
  if (onDuty !== false) {
    const there = onDuty ? "Somebody is there and will answer here." : "A person will answer here.";
    return { detail: `${there} Until then the agent goes on.`, choices: ["withdraw"], tone: "waits" };
  }
  if (patient) {
    return {
      detail: "Nobody is there just now. Who comes answers here, also while you are away; until then the agent goes on.",
      choices: ["message", "withdraw"],
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
