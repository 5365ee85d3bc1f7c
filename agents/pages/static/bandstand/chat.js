// The chat page: puts its parts together.

import * as api from "./api.js";
import { Composer } from "./composer.js";
import { ENDED } from "./conversation.js";
import { ask } from "./dialogs.js";
import { element, setText } from "./dom.js";
import { LiveConversation } from "./live.js";
import { Menu } from "./menu.js";
import { Announcer, ConnectionBanner, Notice } from "./notices.js";
import { plainText } from "./parts.js";
import { Pending } from "./pending.js";
import { Renderer } from "./renderer.js";
import { listen } from "./shortcuts.js";
import { Sidebar, titleOf } from "./sidebar.js";
import { Transcript } from "./transcript.js";
import { Viewport } from "./viewport.js";

const { user } = document.body.dataset;
const OUTBOX = `bandstand.outbox.${user}.`;
const DRAFT = `bandstand.draft.${user}.`;
const SESSION_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NARROW = matchMedia("(max-width: 52rem)");
const COARSE = matchMedia("(pointer: coarse)");

const byId = (id) => document.getElementById(id);
const app = byId("app");
const stopButton = byId("stop");

const state = {
  agents: [],
  agentSlug: null,
  openId: null,
  live: null,
  pending: new Pending(),
  drawing: false,
  kept: null, // the exchange that stays at its place on the screen when another branch is drawn
};

const notice = new Notice(byId("notice"));
const announcer = new Announcer(byId("status"));
const banner = new ConnectionBanner(byId("connection"), () => state.live?.retryNow());
const menu = new Menu(byId("chat-menu"), (action, session) => ({ rename, remove }[action](session)));
const sidebar = new Sidebar({
  list: byId("session-list"),
  more: byId("more-sessions"),
  none: byId("no-sessions"),
  search: byId("search"),
  menu: openMenu,
  failed,
});
const transcript = new Transcript(byId("transcript"), {
  renderer: new Renderer(),
  actions: { cancel: (turn) => state.live?.cancel(turn), ask: askAgain, choose, feedback, announce: (words) => announcer.say(words) },
});
const viewport = new Viewport({ scroller: byId("scroller"), content: byId("content"), jump: byId("jump"), onTop: loadOlder });
const composer = new Composer({
  form: byId("composer"),
  text: byId("text"),
  send: byId("send"),
  draftName: DRAFT,
  submit: send,
  maySend: () => Boolean(state.openId || state.agentSlug),
  editLast: () => transcript.editLast(),
});

// --- start ---

async function start() {
  wire();
  const [agents, sessions] = await Promise.allSettled([api.listAgents(), sidebar.load()]);
  const error = agents.reason ?? sessions.reason;
  if (error) {
    if (error.signedOut || error.status === 403) return signIn();
    notice.show("The list of chats could not be loaded.", {
      choice: { label: "Try again", action: () => location.reload() },
      reference: error.reference,
    });
  }
  state.agents = agents.value ?? [];
  state.agentSlug = state.agents[0]?.slug ?? null;
  drawAgents();
  route();
}

function wire() {
  addEventListener("popstate", route);
  byId("new-chat").addEventListener("click", goHome);
  byId("menu").addEventListener("click", () => toggleSidebar(true));
  byId("veil").addEventListener("click", () => toggleSidebar(false));
  byId("session-actions").addEventListener("click", ({ currentTarget }) => openMenu(currentTarget, openSession()));
  byId("shortcuts").addEventListener("click", () => ask(byId("shortcuts-dialog")));
  byId("sign-out").addEventListener("submit", forgetWhatWasWritten);
  stopButton.addEventListener("click", stop);
  listen({ escape, fresh: goHome, search: openSearch, help: () => ask(byId("shortcuts-dialog")), compose: () => composer.focus() });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment names a session
    composer.focus();
  });
  NARROW.addEventListener("change", () => toggleSidebar(false));
  toggleSidebar(false);
}

// The fragment of the address names the open session; without one a new chat is begun.
function route() {
  const id = SESSION_ID.exec(location.hash.slice(1))?.[0] ?? null;
  toggleSidebar(false);
  menu.close();
  if (id === state.openId && (id ? state.live : !byId("welcome").hidden)) return;
  leave();
  if (id) enter(id);
  else welcome();
  if (!COARSE.matches) composer.focus();
}

function goHome() {
  history.pushState(null, "", "/");
  route();
  if (!COARSE.matches) composer.focus();
}

function signIn() {
  location.assign(`/login/?next=${encodeURIComponent(`/${location.hash}`)}`);
}

// Who signs out leaves nothing that they wrote on this machine.
function forgetWhatWasWritten() {
  for (const storage of [localStorage, sessionStorage]) {
    for (const key of Object.keys(storage)) if (key.startsWith(OUTBOX) || key.startsWith(DRAFT)) storage.removeItem(key);
  }
}

function escape() {
  if (menu.open) menu.close({ focus: true });
  else if (app.classList.contains("app--menu")) toggleSidebar(false);
  else if (!stopButton.hidden) stop();
}

// --- agents ---

function drawAgents() {
  const box = byId("agents");
  box.replaceChildren(...state.agents.map(agentChoice));
  box.parentElement.hidden = state.agents.length < 2;
  const only = state.agents.length === 1 ? state.agents[0] : null;
  setText(byId("about"), state.agents.length ? (only?.description ?? "") : "There is no agent here that you may talk to yet.");
  box.onchange = ({ target }) => {
    state.agentSlug = target.value;
    drawHeader();
  };
}

function agentChoice(agent) {
  return element(
    "label",
    { class: "agent" },
    element("input", { type: "radio", name: "agent", value: agent.slug, checked: agent.slug === state.agentSlug }),
    element(
      "span",
      { class: "agent__words" },
      element("span", { class: "agent__name" }, agent.name),
      agent.description ? element("span", { class: "agent__description" }, agent.description) : null,
    ),
  );
}

const agentName = (slug) => state.agents.find((agent) => agent.slug === slug)?.name ?? slug ?? "";

// --- the open chat ---

const openConversation = () => state.live?.conversation ?? null;
const openSession = () => openConversation()?.session ?? sidebar.find(state.openId);

function welcome() {
  byId("welcome").hidden = false;
  drawChat();
}

function enter(id) {
  state.openId = id;
  byId("loading").hidden = false;
  const live = new LiveConversation({ id, outboxName: OUTBOX + id });
  state.live = live;
  const on = (type, handle) => live.addEventListener(type, ({ detail }) => handle(detail));
  on("loaded", loaded);
  on("event", logged);
  on("status", connectionChanged);
  on("outbox", ({ items }) => {
    state.pending.add(items, openConversation()?.lastOrdinal ?? Infinity);
    draw();
  });
  on("accepted", ({ id: item, turn }) => {
    state.pending.accepted(item, turn);
    draw();
  });
  on("refused", ({ id: item, text, detail }) => {
    state.pending.drop(item);
    if (!composer.value) composer.put(text);
    notice.show(detail);
    draw();
  });
  on("problem", ({ detail, code }) => {
    if (code !== "unavailable" && code !== "turn_in_progress") notice.show(detail);
  });
  live.open();
  drawChat();
}

function leave() {
  state.live?.close();
  Object.assign(state, { live: null, openId: null, kept: null });
  state.pending.clear();
  transcript.clear();
  for (const id of ["welcome", "loading", "stop", "jump"]) byId(id).hidden = true;
  banner.hide();
  notice.hide();
  viewport.following = true;
}

function loaded() {
  byId("loading").hidden = true;
  sessionChanged();
  draw();
}

function logged({ event: type, data }) {
  const conversation = openConversation();
  if (type === "session.updated") sessionChanged();
  if (type === "turn.started") announcer.say("The answer is being written.");
  if (type === "message.completed") announcer.say(`${agentName(conversation.session.agent)}: ${plainText(data.message.parts)}`);
  if (type === "turn.failed") announcer.say(`The answer failed. ${data.error?.detail ?? ""}`);
  if (type === "turn.cancelled") announcer.say("Stopped.");
  draw();
}

function sessionChanged() {
  const { session } = openConversation();
  if (sidebar.find(session.id)) sidebar.put(session);
  drawHeader();
}

function connectionChanged(change) {
  banner.update(change, openConversation() !== null);
  if (change.status === "signed-out") signIn();
  if (change.status === "gone") {
    sidebar.drop(state.openId);
    goHome();
    notice.show("This chat does not exist any more.");
  }
  draw();
}

async function loadOlder() {
  try {
    const { live } = state;
    if (!(await live?.loadOlder()) || live !== state.live) return;
    const first = transcript.firstNode;
    const { following } = viewport;
    viewport.keep(first, drawNow);
    viewport.following = following;
  } catch (error) {
    failed(error, "Older messages could not be loaded.");
  }
}

// --- drawing ---

function drawChat() {
  sidebar.openId = state.openId;
  sidebar.draw();
  composer.enter(state.openId);
  drawHeader();
}

function drawHeader() {
  const session = openSession();
  setText(byId("title"), session ? titleOf(session) : state.openId ? "Chat" : "New chat");
  setText(byId("agent-name"), agentName(session?.agent ?? (state.openId ? null : state.agentSlug)));
  byId("session-actions").hidden = !session;
  document.title = session ? `${titleOf(session)} · Bandstand` : "Bandstand";
}

// Draw before the next frame, once however much has changed.
function draw() {
  if (state.drawing) return;
  state.drawing = true;
  requestAnimationFrame(() => {
    state.drawing = false;
    drawNow();
  });
}

function drawNow() {
  const conversation = openConversation();
  if (!conversation) return;
  const exchanges = conversation.exchanges();
  const pending = state.pending.items(conversation, state.live.status === "live");
  // What is asked in a branch is shown where the branch begins.
  const cut = exchanges.findIndex(({ message }) => pending.some(({ parent }) => parent === message.parent));
  const shown = cut < 0 ? exchanges : exchanges.slice(0, cut);
  const change = () => transcript.draw(shown, pending);
  if (state.kept && transcript.nodeOf(state.kept.from) && shown.some(({ key }) => key === state.kept.to)) switchBranch(change);
  else change();
  const open = conversation.openTurn;
  stopButton.hidden = !open;
  stopButton.disabled = open?.status === "cancelling" || state.live.status !== "live";
  byId("beginning").hidden = conversation.older || !shown.length;
}

// --- sending ---

// Resolves to whether the message is in good hands.
async function send(text) {
  notice.hide();
  if (!state.live && !(await begin())) return false;
  state.live.send(text);
  const session = openSession();
  if (session) sidebar.put(session, { first: true });
  viewport.toEnd();
  return true;
}

async function begin() {
  try {
    const session = await api.createSession(state.agentSlug);
    leave();
    sidebar.put(session, { first: true });
    history.pushState(null, "", `#${session.id}`);
    enter(session.id);
    composer.focus();
    return true;
  } catch (error) {
    failed(error, "The chat could not be started.");
    return false;
  }
}

function askAgain(text, parent) {
  notice.hide();
  state.live.send(text, parent);
  composer.focus();
  viewport.following = true;
}

function stop() {
  const open = openConversation()?.openTurn;
  if (open && !ENDED.has(open.status) && state.live.cancel(open.id)) stopButton.disabled = true;
  composer.focus();
}

// --- branches and feedback ---

async function choose({ id, head }, { step, index, count }) {
  const from = openConversation().exchanges().find(({ branches }) => branches.some((branch) => branch.id === id))?.key;
  state.kept = { from, to: id, step };
  try {
    await api.chooseHead(state.openId, head);
    announcer.say(`Version ${index + 1} of ${count}.`);
  } catch (error) {
    state.kept = null;
    failed(error, "The other version could not be shown.");
  }
}

function switchBranch(change) {
  const { from, to, step } = state.kept;
  state.kept = null;
  viewport.keep(transcript.nodeOf(from), change, () => transcript.nodeOf(to));
  transcript.focusBranches(to, step);
}

async function feedback(message, given) {
  try {
    if (given) await api.giveFeedback(message.id, given.value, given.comment);
    else await api.takeFeedbackBack(message.id);
    return true;
  } catch (error) {
    failed(error, "The feedback could not be stored.");
    return false;
  }
}

// --- the menu of a chat ---

function openMenu(button, session) {
  for (const format of ["markdown", "json"]) byId(`export-${format}`).href = api.exportAddress(session.id, format);
  menu.toggle(button, session);
}

async function rename(session) {
  const field = byId("rename-text");
  field.value = session.title ?? "";
  const confirmed = ask(byId("rename-dialog"));
  field.select();
  if (!(await confirmed) || !field.value.trim()) return;
  try {
    const renamed = await api.renameSession(session.id, field.value.trim());
    if (openConversation()?.session.id === renamed.id) openConversation().session = renamed;
    if (sidebar.find(renamed.id)) sidebar.put(renamed);
    drawHeader();
  } catch (error) {
    failed(error, "The chat could not be renamed.");
  }
}

async function remove(session) {
  setText(byId("delete-name"), titleOf(session));
  if (!(await ask(byId("delete-dialog")))) return;
  try {
    await api.deleteSession(session.id);
    sidebar.drop(session.id);
    localStorage.removeItem(OUTBOX + session.id);
    if (state.openId === session.id) goHome();
    announcer.say("The chat is deleted.");
  } catch (error) {
    failed(error, "The chat could not be deleted.");
  }
}

// --- notices, the search and the sidebar ---

function failed(error, words) {
  if (error.signedOut) signIn();
  else notice.show(`${words} ${error.message}`, { reference: error.reference });
}

function openSearch() {
  toggleSidebar(true);
  byId("search").focus();
  byId("search").select();
}

function toggleSidebar(open) {
  const shown = open && NARROW.matches;
  app.classList.toggle("app--menu", shown);
  byId("sidebar").inert = NARROW.matches && !open;
  byId("menu").setAttribute("aria-expanded", String(shown));
  if (shown) byId("new-chat").focus();
}

start();
