// The page of one's schedules: create, change, pause, resume, delete, and see what became of them.

import { ask } from "../shared/dialogs.js";
import { element, setText } from "../shared/dom.js";
import * as api from "./api.js";
import { ScheduleForm } from "./schedule-form.js";
import { scheduleItem } from "./schedule-item.js";

const byId = (id) => document.getElementById(id);
const state = { agents: [], next: null };
const actions = { pause, resume, edit, remove };

function say(text) {
  setText(byId("status"), text);
}

function failed(error, words) {
  const notice = byId("problem");
  setText(notice, error.signedOut ? "You are signed out. Load this page again to sign in." : `${words} ${error.message}`);
  notice.hidden = false;
}

// `again`: what failed just now has led here, and its notice stays.
async function attempt(words, work, { again = false } = {}) {
  if (!again) byId("problem").hidden = true;
  try {
    return await work();
  } catch (error) {
    failed(error, words);
    return undefined;
  }
}

const itemOf = (schedule) => scheduleItem(schedule, state.agents, actions);

function draw() {
  byId("none").hidden = byId("schedules").childElementCount > 0 || byId("new-form").childElementCount > 0;
  byId("more").hidden = !state.next;
}

async function load({ more = false, again = false } = {}) {
  const work = async () => {
    const page = await api.listSchedules(more ? state.next : null);
    state.next = page.next;
    const items = page.results.map(itemOf);
    if (more) {
      byId("schedules").append(...items);
      items[0]?.querySelector("button")?.focus();
    } else byId("schedules").replaceChildren(...items);
    draw();
  };
  await attempt("The schedules could not be loaded.", work, { again });
}

// Put a schedule in the place of what the list shows of it. `focus` is the button that gets the focus, by its words.
function replace(schedule, focus = null) {
  const item = itemOf(schedule);
  byId(schedule.id)?.replaceWith(item);
  if (focus) [...item.querySelectorAll("button")].find(({ textContent }) => textContent === focus)?.focus();
}

async function pause(schedule) {
  const paused = await attempt("It could not be paused.", () => api.pauseSchedule(schedule));
  if (!paused) return;
  replace(paused, "Resume");
  say("Paused.");
}

async function resume(schedule) {
  const resumed = await attempt("It could not be resumed.", () => api.resumeSchedule(schedule));
  if (!resumed) return load({ again: true });
  replace(resumed, "Pause");
  say("Resumed.");
}

function edit(schedule) {
  const form = new ScheduleForm({
    schedule,
    save: async (body) => {
      replace(await api.updateSchedule(schedule, body), "Change");
      say("Saved.");
    },
    cancel: () => replace(schedule, "Change"),
  });
  byId(schedule.id).replaceChildren(form.node);
  form.focus();
}

async function remove(schedule) {
  setText(byId("delete-text"), schedule.text.length > 200 ? `${schedule.text.slice(0, 200)}…` : schedule.text);
  if (!(await ask(byId("delete-dialog")))) return;
  const gone = await attempt("It could not be deleted.", async () => {
    await api.deleteSchedule(schedule);
    return true;
  });
  if (!gone) return load({ again: true });
  const item = byId(schedule.id);
  const neighbour = item?.nextElementSibling ?? item?.previousElementSibling;
  item?.remove();
  (neighbour?.querySelector("button") ?? byId("new")).focus();
  draw();
  say("Deleted.");
}

function openForm(session = null) {
  const place = byId("new-form");
  const close = () => {
    place.replaceChildren();
    byId("new").hidden = false;
    draw();
    byId("new").focus();
  };
  const form = new ScheduleForm({
    agents: state.agents,
    session,
    save: async (body) => {
      const schedule = await api.createSchedule(body);
      byId("schedules").prepend(itemOf(schedule));
      close();
      say(`Created: ${schedule.description}.`);
    },
    cancel: close,
  });
  place.replaceChildren(element("h2", {}, "New schedule"), form.node);
  byId("new").hidden = true;
  draw();
  form.focus();
}

async function start() {
  byId("more").addEventListener("click", () => load({ more: true }));
  byId("new").addEventListener("click", () => openForm());
  const chat = new URLSearchParams(location.search).get("session");
  await attempt("The agents could not be loaded.", async () => {
    state.agents = await api.listAgents();
  });
  byId("new").disabled = !state.agents.length;
  await load();
  if (chat) {
    const session = await attempt("The chat could not be loaded.", () => api.getSession(chat));
    history.replaceState(null, "", location.pathname); // a reload must not begin it once more
    if (session) openForm(session);
  } else if (location.hash) byId(location.hash.slice(1))?.focus();
}

start();
