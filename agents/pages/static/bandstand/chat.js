// The chat page: the list of sessions, the open conversation, the composer.

import * as api from "./api.js";
import { SessionClient } from "./client.js";
import { Conversation, ENDED } from "./conversation.js";
import { element, setText } from "./dom.js";
import { plainText, Transcript } from "./transcript.js";

const OUTBOX = `bandstand.outbox.${document.body.dataset.user}.`;
const NEAR_THE_END_PX = 80;
const TITLE_LENGTH = 60;
const SESSION_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const byId = (id) => document.getElementById(id);
const ui = {
  app: byId("app"),
  sidebar: byId("sidebar"),
  menu: byId("menu"),
  veil: byId("veil"),
  list: byId("session-list"),
  more: byId("more-sessions"),
  none: byId("no-sessions"),
  fresh: byId("new-chat"),
  title: byId("title"),
  agent: byId("agent-name"),
  connection: byId("connection"),
  actions: byId("session-actions"),
  rename: byId("rename"),
  remove: byId("delete"),
  scroller: byId("scroller"),
  welcome: byId("welcome"),
  about: byId("about"),
  agents: byId("agents"),
  loading: byId("loading"),
  transcript: byId("transcript"),
  jump: byId("jump"),
  composer: byId("composer"),
  text: byId("text"),
  send: byId("send"),
  stop: byId("stop"),
  notice: byId("notice"),
  status: byId("status"),
  signOut: byId("sign-out"),
  renameDialog: byId("rename-dialog"),
  renameText: byId("rename-text"),
  deleteDialog: byId("delete-dialog"),
};

const state = {
  agents: [],
  agentSlug: null,
  sessions: [],
  next: null,
  client: null,
  conversation: null,
  openId: null,
  // What was sent from here and is not in the log yet: client_msg_id → {text, turn?, after}. `after` is the last ordinal
  // that was shown when it was written.
  sent: new Map(),
  drawing: false,
};

const transcript = new Transcript(ui.transcript, {
  cancel: (turn) => state.client?.cancel(turn),
  retry: (text) => send(text),
});

// --- start ---

async function start() {
  wire();
  const [agents, sessions] = await Promise.allSettled([api.listAgents(), api.listSessions()]);
  if (agents.status === "rejected" || sessions.status === "rejected") {
    const error = agents.reason ?? sessions.reason;
    if (error.status === 401 || error.status === 403) return signIn();
    notify("The list of chats could not be loaded.", { label: "Try again", action: () => location.reload() });
  }
  state.agents = agents.value ?? [];
  state.agentSlug = state.agents[0]?.slug ?? null;
  state.sessions = sessions.value?.results ?? [];
  state.next = sessions.value?.next ?? null;
  drawAgents();
  drawSessions();
  route();
}

function wire() {
  addEventListener("popstate", route);
  ui.fresh.addEventListener("click", goHome);
  ui.more.addEventListener("click", loadMore);
  ui.menu.addEventListener("click", () => toggleSidebar(true));
  ui.veil.addEventListener("click", () => toggleSidebar(false));
  ui.composer.addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
  ui.text.addEventListener("input", composerChanged);
  ui.text.addEventListener("keydown", typed);
  ui.stop.addEventListener("click", stop);
  ui.scroller.addEventListener("scroll", () => (ui.jump.hidden = atEnd()), { passive: true });
  ui.jump.addEventListener("click", () => scrollToEnd("smooth"));
  ui.rename.addEventListener("click", openRename);
  ui.remove.addEventListener("click", () => ui.deleteDialog.showModal());
  ui.renameDialog.addEventListener("close", closeRename);
  ui.deleteDialog.addEventListener("close", closeDelete);
  ui.signOut.addEventListener("submit", forgetOutboxes);
  addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
    if (ui.app.classList.contains("app--menu")) toggleSidebar(false);
    else if (!ui.stop.hidden) stop();
  });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment names a session
    ui.text.focus();
  });
  matchMedia("(max-width: 52rem)").addEventListener("change", () => toggleSidebar(false));
  toggleSidebar(false);
}

// The fragment of the address names the open session; without one a new chat is begun.
function route() {
  const id = SESSION_ID.exec(location.hash.slice(1))?.[0] ?? null;
  toggleSidebar(false);
  if (id === state.openId && (id ? state.client : !ui.welcome.hidden)) return;
  leave();
  if (id) enter(id);
  else welcome();
  if (!matchMedia("(pointer: coarse)").matches) ui.text.focus();
}

function goHome() {
  history.pushState(null, "", "/");
  route();
}

function signIn() {
  location.assign(`/login/?next=${encodeURIComponent(`/${location.hash}`)}`);
}

// Who signs out leaves nothing that they wrote on this machine.
function forgetOutboxes() {
  for (const key of Object.keys(localStorage)) if (key.startsWith(OUTBOX)) localStorage.removeItem(key);
}

// --- sessions ---

function drawSessions() {
  ui.list.replaceChildren(
    ...state.sessions.map((session) =>
      element(
        "li",
        {},
        element(
          "a",
          { href: `#${session.id}`, "aria-current": session.id === state.openId ? "page" : null },
          titleOf(session),
        ),
      ),
    ),
  );
  ui.none.hidden = state.sessions.length > 0;
  ui.more.hidden = !state.next;
}

async function loadMore() {
  ui.more.disabled = true;
  try {
    const page = await api.listSessions(state.next);
    const known = new Set(state.sessions.map((session) => session.id));
    state.sessions.push(...page.results.filter((session) => !known.has(session.id)));
    state.next = page.next;
    drawSessions();
  } catch (error) {
    failed(error, "More chats could not be loaded.");
  }
  ui.more.disabled = false;
}

function putSession(session, { first = false } = {}) {
  const index = state.sessions.findIndex((known) => known.id === session.id);
  if (index >= 0) state.sessions.splice(index, 1);
  state.sessions.splice(first || index < 0 ? 0 : index, 0, session);
  drawSessions();
}

function dropSession(id) {
  state.sessions = state.sessions.filter((session) => session.id !== id);
  drawSessions();
}

const titleOf = (session) => session.title || "Untitled chat";

// --- agents ---

function drawAgents() {
  const choices = state.agents.map((agent) =>
    element(
      "label",
      { class: "agent" },
      element("input", { type: "radio", name: "agent", value: agent.slug, checked: agent.slug === state.agentSlug }),
      element(
        "span",
        { class: "agent__words" },
        element("span", { class: "agent__name" }, agent.name),
        agent.description ? element("span", { class: "agent__description" }, agent.description) : null,
      ),
    ),
  );
  ui.agents.replaceChildren(...choices);
  ui.agents.parentElement.hidden = state.agents.length < 2;
  const only = state.agents.length === 1 ? state.agents[0] : null;
  setText(ui.about, state.agents.length ? (only?.description ?? "") : "There is no agent here that you may talk to yet.");
  ui.agents.onchange = (event) => {
    state.agentSlug = event.target.value;
    drawHeader();
  };
}

const agentName = (slug) => state.agents.find((agent) => agent.slug === slug)?.name ?? slug ?? "";

// --- the open session ---

function welcome() {
  ui.welcome.hidden = false;
  drawHeader();
  drawSessions();
  composerChanged();
}

function enter(id) {
  state.openId = id;
  ui.loading.hidden = false;
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const client = new SessionClient({
    url: `${scheme}://${location.host}/ws/sessions/${encodeURIComponent(id)}/`,
    storage: localStorage,
    outboxName: OUTBOX + id,
  });
  state.client = client;
  const on = (type, handle) => client.addEventListener(type, (event) => handle(event.detail));
  on("status", connectionChanged);
  on("snapshot", (snapshot) => {
    const following = state.conversation === null || atEnd();
    state.conversation = new Conversation(snapshot);
    ui.loading.hidden = true;
    sessionChanged();
    draw(following);
  });
  on("event", logged);
  on("outbox", ({ items }) => {
    for (const { id, text } of items) if (!state.sent.has(id)) state.sent.set(id, { text, after: lastOrdinal() });
    draw();
  });
  on("accepted", ({ id, turn }) => {
    if (state.sent.has(id)) state.sent.get(id).turn = turn;
    draw();
  });
  on("refused", ({ id, text, detail }) => {
    state.sent.delete(id);
    if (!ui.text.value) ui.text.value = text;
    composerChanged();
    notify(detail);
  });
  on("problem", ({ detail, code }) => {
    if (code !== "unavailable" && code !== "turn_in_progress") notify(detail);
  });
  client.open();
  drawHeader();
  drawSessions();
  composerChanged();
}

function leave() {
  state.client?.close();
  Object.assign(state, { client: null, conversation: null, openId: null });
  state.sent.clear();
  transcript.clear();
  ui.welcome.hidden = true;
  ui.loading.hidden = true;
  ui.connection.hidden = true;
  ui.stop.hidden = true;
  ui.jump.hidden = true;
  dismissNotice();
}

function logged(event) {
  state.conversation.apply(event);
  const { event: type, data } = event;
  if (type === "session.updated") sessionChanged();
  if (type === "turn.started") announce("The answer is being written.");
  if (type === "message.completed") announce(`${agentName(state.conversation.session.agent)}: ${plainText(data.message.parts)}`);
  if (type === "turn.failed") announce(`The answer failed. ${data.error?.detail ?? ""}`);
  if (type === "turn.cancelled") announce("Stopped.");
  draw();
}

function sessionChanged() {
  const { session } = state.conversation;
  if (state.sessions.some((known) => known.id === session.id)) putSession(session);
  drawHeader();
}

function connectionChanged({ status }) {
  const words = {
    connecting: state.conversation ? "Reconnecting…" : null,
    offline: "Connection lost. Reconnecting…",
    broken: "This page is out of date. Please reload it.",
  }[status];
  // A reconnection that takes a moment is nobody's concern.
  clearTimeout(connectionChanged.timer);
  if (!words) ui.connection.hidden = true;
  else connectionChanged.timer = setTimeout(() => showConnection(words), status === "broken" ? 0 : 700);
  if (status === "signed-out") signIn();
  if (status === "gone") {
    dropSession(state.openId);
    goHome();
    notify("This chat does not exist any more.");
  }
  draw();
}

function showConnection(words) {
  setText(ui.connection.querySelector("span"), words);
  ui.connection.hidden = false;
}

// --- drawing ---

function drawHeader() {
  const session = state.conversation?.session ?? state.sessions.find((known) => known.id === state.openId);
  setText(ui.title, session ? titleOf(session) : state.openId ? "Chat" : "New chat");
  setText(ui.agent, agentName(session?.agent ?? (state.openId ? null : state.agentSlug)));
  ui.actions.hidden = !session;
  document.title = session ? `${titleOf(session)} · Bandstand` : "Bandstand";
}

function draw(toEnd = atEnd()) {
  state.follow = state.follow || toEnd;
  if (state.drawing) return;
  state.drawing = true;
  requestAnimationFrame(() => {
    state.drawing = false;
    const follow = state.follow;
    state.follow = false;
    if (state.conversation) {
      transcript.draw(state.conversation.exchanges(), pendingItems());
      const open = state.conversation.openTurn;
      ui.stop.hidden = !open;
      ui.stop.disabled = open?.status === "cancelling" || state.client?.status !== "live";
    }
    if (follow) scrollToEnd();
    ui.jump.hidden = atEnd();
  });
}

// What was sent and the log does not show yet. The log may be faster than the acknowledgement that names the turn, so a
// new message with the same words counts as well.
function pendingItems() {
  const asked = [...state.conversation.messages.values()].filter((message) => message.author === "user");
  const claimed = new Set();
  const items = [];
  for (const [id, { text, turn, after }] of state.sent) {
    const shown = asked.find(
      (message) =>
        !claimed.has(message.id) &&
        (turn ? message.turn === turn : message.ordinal > after && plainText(message.parts) === text),
    );
    if (shown) {
      claimed.add(shown.id);
      if (turn) state.sent.delete(id);
    } else {
      items.push({ key: id, text, note: state.client.status === "live" ? "Sending…" : "Waits for the connection" });
    }
  }
  return items;
}

const lastOrdinal = () =>
  state.conversation ? Math.max(0, ...[...state.conversation.messages.values()].map((m) => m.ordinal)) : Infinity;

const atEnd = () => ui.scroller.scrollHeight - ui.scroller.scrollTop - ui.scroller.clientHeight < NEAR_THE_END_PX;

function scrollToEnd(behavior = "instant") {
  ui.scroller.scrollTo({ top: ui.scroller.scrollHeight, behavior });
}

function announce(words) {
  setText(ui.status, words.slice(0, 2000));
}

// --- composer ---

function typed(event) {
  const touch = matchMedia("(pointer: coarse)").matches;
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing && !touch) {
    event.preventDefault();
    submit();
  }
}

function composerChanged() {
  ui.send.disabled = !ui.text.value.trim() || (!state.openId && !state.agentSlug);
  ui.text.style.height = "auto";
  ui.text.style.height = `${Math.min(ui.text.scrollHeight, 240)}px`;
}

async function submit() {
  const text = ui.text.value;
  if (!text.trim() || ui.send.disabled) return;
  ui.text.value = "";
  composerChanged();
  if (!(await send(text))) {
    ui.text.value = text;
    composerChanged();
  }
}

// Returns whether the message is in good hands.
async function send(text) {
  dismissNotice();
  if (!state.client && !(await begin(text))) return false;
  state.client.send(text);
  const session = state.conversation?.session;
  if (session) putSession(session, { first: true });
  draw(true);
  return true;
}

async function begin(text) {
  ui.send.disabled = true;
  try {
    const session = await api.createSession(state.agentSlug, titleFrom(text));
    leave();
    putSession(session, { first: true });
    history.pushState(null, "", `#${session.id}`);
    enter(session.id);
    return true;
  } catch (error) {
    failed(error, "The chat could not be started.");
    return false;
  }
}

function titleFrom(text) {
  const words = text.trim().replace(/\s+/g, " ");
  const letters = [...words];
  return letters.length <= TITLE_LENGTH ? words : `${letters.slice(0, TITLE_LENGTH - 1).join("").trimEnd()}…`;
}

function stop() {
  const open = state.conversation?.openTurn;
  if (open && !ENDED.has(open.status) && state.client.cancel(open.id)) ui.stop.disabled = true;
}

// --- rename, delete ---

function openRename() {
  ui.renameText.value = state.conversation?.session.title ?? "";
  ui.renameDialog.returnValue = "";
  ui.renameDialog.showModal();
  ui.renameText.select();
}

async function closeRename() {
  const title = ui.renameText.value.trim();
  if (ui.renameDialog.returnValue !== "yes" || !title) return;
  try {
    const session = await api.renameSession(await api.getSession(state.openId), title);
    if (state.conversation?.session.id === session.id) state.conversation.session = session;
    putSession(session);
    drawHeader();
  } catch (error) {
    failed(error, "The chat could not be renamed.");
  }
}

async function closeDelete() {
  if (ui.deleteDialog.returnValue !== "yes") return;
  const id = state.openId;
  try {
    await api.deleteSession(await api.getSession(id));
    dropSession(id);
    localStorage.removeItem(OUTBOX + id);
    if (state.openId === id) goHome();
  } catch (error) {
    failed(error, "The chat could not be deleted.");
  }
}

// --- notices and the menu ---

function failed(error, words) {
  if (error.status === 401) signIn();
  else notify(error.status ? `${words} ${error.message}` : `${words} The server could not be reached.`);
}

function notify(words, choice = null) {
  const close = element("button", { type: "button", class: "quiet", onclick: dismissNotice }, "Dismiss");
  const act = choice && element("button", { type: "button", class: "quiet", onclick: choice.action }, choice.label);
  ui.notice.replaceChildren(element("p", {}, words), act ?? close);
  ui.notice.hidden = false;
}

function dismissNotice() {
  ui.notice.hidden = true;
}

function toggleSidebar(open) {
  const narrow = matchMedia("(max-width: 52rem)").matches;
  ui.app.classList.toggle("app--menu", open && narrow);
  ui.sidebar.inert = narrow && !open;
  ui.menu.setAttribute("aria-expanded", String(open && narrow));
  if (open && narrow) ui.fresh.focus();
}

start();
