// One schedule in the list: what is asked, when, what became of it, and what one can do with it.

import { element, icon, toolButton } from "../shared/dom.js";
import { formatMoment } from "./timing.js";

const STATES = {
  paused: "Paused",
  held: "Held by an operator",
  over: "Over",
};

const capital = (words) => words[0].toUpperCase() + words.slice(1);

function chatLink(session, words) {
  return element("a", { href: `/#${session}` }, words);
}

function whenAndWhere(schedule, agents) {
  const name = agents.find(({ slug }) => slug === schedule.agent)?.name ?? schedule.agent;
  const where = schedule.session ? ["goes on in ", chatLink(schedule.session, "its chat")] : ["in a new chat each time"];
  return element("p", { class: "schedule__when" }, `${capital(schedule.description)} · asks ${name} · `, ...where);
}

function nextTimes({ state, upcoming, time_zone: zone }) {
  if (STATES[state]) return element("p", { class: `schedule__state schedule__state--${state}` }, STATES[state]);
  const times = upcoming.map((moment) => formatMoment(moment, zone)).join(" · ");
  return element("p", { class: "schedule__facts" }, `Next: ${times}`);
}

function lastTime({ last, missed, time_zone: zone }) {
  if (!last) return null;
  const at = formatMoment(last.due_at, zone);
  const more = missed ? ` ${missed} earlier ${missed === 1 ? "time was" : "times were"} missed.` : "";
  if (last.outcome === "refused") {
    return element("p", { class: "schedule__refused" }, icon("alert"), `Not asked on ${at}: ${last.error}${more}`);
  }
  return element("p", { class: "schedule__facts" }, `Last asked for ${at}: `, chatLink(last.session, "see the chat"), `.${more}`);
}

// `actions` are called with the schedule: pause, resume, edit, remove.
export function scheduleItem(schedule, agents, actions) {
  const short = schedule.text.slice(0, 80);
  const tool = (words, symbol, action) => toolButton(words, symbol, () => action(schedule), { shown: true, label: `${words}: ${short}` });
  return element(
    "li",
    { class: "schedule", id: schedule.id, tabindex: "-1" },
    element("p", { class: "schedule__text", dir: "auto" }, schedule.text),
    whenAndWhere(schedule, agents),
    nextTimes(schedule),
    lastTime(schedule),
    element(
      "div",
      { class: "schedule__tools" },
      schedule.state === "active" ? tool("Pause", "pause", actions.pause) : null,
      schedule.state === "paused" ? tool("Resume", "play", actions.resume) : null,
      tool("Change", "pencil", actions.edit),
      tool("Delete", "bin", actions.remove),
    ),
  );
}
