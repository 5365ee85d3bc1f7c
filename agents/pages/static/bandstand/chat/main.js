// The chat page: puts its parts together.

import { ask } from "../shared/dialogs.js";
import { setText } from "../shared/dom.js";
import * as api from "./api.js";
import { approvalWords, decisionWords } from "./approvals.js";
import { Composer } from "./composer.js";
import { ENDED } from "./conversation.js";
import { WAITS_FOR_BUDGET, authorName, errorDetail } from "./exchange.js";
import { HandoffBar } from "./handoff-bar.js";
import { handoffWords, personName } from "./handoff.js";
import { LiveConversation } from "./live-conversation.js";
import { MarkdownRenderer } from "./markdown-renderer.js";
import { plainText } from "./message-parts.js";
import { Announcer, ConnectionBanner, Notice } from "./notices.js";
import { PageTitle } from "./page-title.js";
import { PendingMessages } from "./pending-messages.js";
import { timeOf } from "./question.js";
import { QuotaBar } from "./quota-bar.js";
import { withLocalTime } from "./quota.js";
import { SessionActions } from "./session-actions.js";
import { listen } from "./shortcuts.js";
import { Sidebar, titleOf } from "./sidebar.js";
import { Transcript } from "./transcript.js";
import { Viewport } from "./viewport.js";
import { Welcome } from "./welcome.js";

const { user, mayChat, quota } = document.body.dataset;
const OUTBOX = `bandstand.outbox.${user}.`;
const DRAFT = `bandstand.draft.${user}.`;
const DUTY_MS = 30_000;
const SESSION_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const NARROW = matchMedia("(max-width: 52rem)");
const COARSE = matchMedia("(pointer: coarse)");

const byId = (id) => document.getElementById(id);
const app = byId("app");
const stopButton = byId("stop");

const state = {
  agents: [],
  openId: null,
  live: null,
  beginning: false, // whether a new chat is being made
  signedOut: false, // whether the login has ended since the page was loaded
  pending: new PendingMessages(),
  drawing: false,
  counting: null, // the timer that draws the next second of a wait
  kept: null, // the exchange that stays at its place on the screen when another branch is drawn
};

const pageTitle = new PageTitle();
const notice = new Notice(byId("notice"));
const announcer = new Announcer(byId("status"));
const banner = new ConnectionBanner(byId("connection"), () => state.live?.retryNow());
const sessionActions = new SessionActions({ renamed, deleted, failed });
const sidebar = new Sidebar({
  list: byId("session-list"),
  more: byId("more-sessions"),
  none: byId("no-sessions"),
  search: byId("search"),
  menu: (button, session) => sessionActions.toggle(button, session),
  failed,
});
const transcript = new Transcript(byId("transcript"), {
  renderer: new MarkdownRenderer(),
  actions: {
    cancel: (turn) => state.live?.cancel(turn),
    ask: askAgain,
    decide,
    choose,
    feedback,
    announce: (words) => announcer.say(words),
  },
});
const welcome = new Welcome({ node: byId("welcome"), chosen: drawHeader });
const viewport = new Viewport({ scroller: byId("scroller"), content: byId("content"), jump: byId("jump"), onTop: loadOlder });
const composer = new Composer({
  form: byId("composer"),
  text: byId("text"),
  send: byId("send"),
  problem: byId("problem"),
  draftName: DRAFT,
  submit: send,
  maySend: () => Boolean(state.openId || welcome.slug),
  editLast: () => !openConversation()?.controlled && transcript.editLast(),
});
const handoffBar = new HandoffBar({
  node: byId("handoff"),
  button: byId("ask-person"),
  actions: {
    ask: (reason) => forPerson(api.requestHandoff(state.openId, reason), "A person could not be asked."),
    leave: (text, key) => forPerson(api.leaveMessage(state.openId, text, key), "The message could not be left."),
    withdraw: () => forPerson(api.withdrawHandoff(state.openId), "The request could not be withdrawn."),
    done: focusComposer,
  },
});

const quotaBar = new QuotaBar({
  node: byId("quota"),
  storage: localStorage,
  name: `bandstand.quota.${user}`,
  account: "/account/",
  done: focusComposer,
});

// --- start ---

async function start() {
  wire();
  if (quota) quotaBar.show(JSON.parse(quota));
  const [agents, sessions] = await Promise.allSettled([api.listAgents(), sidebar.load()]);
  const error = agents.reason ?? sessions.reason;
  if (error?.signedOut) return signIn();
  state.agents = agents.value ?? [];
  if (agents.value) welcome.offer(state.agents);
  if (!mayChat) {
    welcome.refuse("You may not use the chat", "Whoever runs this system can give your account the role that it needs.");
  } else if (error) {
    notice.show("The list of chats could not be loaded.", {
      choice: { label: "Try again", action: () => location.reload() },
      reference: error.reference,
    });
  }
  route();
}

function wire() {
  addEventListener("popstate", route);
  byId("new-chat").addEventListener("click", goHome);
  byId("menu").addEventListener("click", () => toggleSidebar(true));
  byId("veil").addEventListener("click", () => toggleSidebar(false));
  byId("session-actions").addEventListener("click", ({ currentTarget }) => sessionActions.toggle(currentTarget, openSession()));
  byId("shortcuts").addEventListener("click", () => ask(byId("shortcuts-dialog")));
  byId("sign-out").addEventListener("submit", forgetWhatWasWritten);
  stopButton.addEventListener("click", stop);
  listen({ escape, fresh: goHome, search: openSearch, help: () => ask(byId("shortcuts-dialog")), compose: () => composer.focus() });
  byId("skip").addEventListener("click", (event) => {
    event.preventDefault(); // the fragment names a session
    composer.focus();
  });
  NARROW.addEventListener("change", () => toggleSidebar(false));
  // Somebody may have signed in again in another window.
  addEventListener("focus", () => state.signedOut && state.live?.load());
  addEventListener("focus", readDuty);
  setInterval(readDuty, DUTY_MS);
  toggleSidebar(false);
}

// The fragment of the address names the open session; without one a new chat is begun.
function route() {
  const id = SESSION_ID.exec(location.hash.slice(1))?.[0] ?? null;
  toggleSidebar(false);
  sessionActions.menu.close();
  if (id === state.openId && (id ? state.live : welcome.shown)) return;
  leave();
  if (id) enter(id);
  else begin();
  focusComposer();
}

function goHome() {
  history.pushState(null, "", "/");
  route();
  focusComposer();
}

// Go on with the message box, unless that would bring up the keyboard of a phone.
function focusComposer() {
  if (!COARSE.matches) composer.focus();
}

function signIn() {
  location.assign(`/login/?next=${encodeURIComponent(`/${location.hash}`)}`);
}

// Nobody is taken away from what they are writing; all of it waits in this browser.
function signedOut() {
  state.signedOut = true;
  notice.show("Your login has ended. What you have written is kept.", { choice: { label: "Sign in", action: signIn } });
}

// Who signs out leaves nothing that they wrote on this machine.
function forgetWhatWasWritten() {
  for (const storage of [localStorage, sessionStorage]) {
    for (const key of Object.keys(storage)) if (key.startsWith(OUTBOX) || key.startsWith(DRAFT)) storage.removeItem(key);
  }
}

function escape() {
  if (sessionActions.menu.open) sessionActions.menu.close({ focus: true });
  else if (app.classList.contains("app--menu")) toggleSidebar(false);
  else if (byId("search").matches(":focus")) composer.focus();
  else if (!stopButton.hidden) stop();
}

const agentName = (slug) => state.agents.find((agent) => agent.slug === slug)?.name ?? slug ?? "";

// --- the open chat ---

const openConversation = () => state.live?.conversation ?? null;
const openSession = () => openConversation()?.session ?? sidebar.find(state.openId);

function begin() {
  welcome.node.hidden = false;
  byId("composer").hidden = !welcome.slug;
  drawChat();
}

function enter(id) {
  state.openId = id;
  byId("composer").hidden = !mayChat;
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
  on("refused", ({ id: item, text, code, detail, resetsAt }) => {
    state.pending.drop(item);
    if (code === "not_found") return gone(text);
    if (!composer.value) composer.put(text);
    notice.show(resetsAt ? withLocalTime(detail, timeOf(resetsAt)) : detail);
    draw();
  });
  on("problem", ({ ref, code, detail, retry_after_ms: waitMs }) => {
    if (!state.pending.delayed(ref, code, waitMs ?? 0) && code !== "unavailable") notice.show(detail);
    draw();
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
  handoffBar.clear();
  addressComposer(null);
  banner.hide();
  notice.hide();
  viewport.following = true;
}

function loaded() {
  byId("loading").hidden = true;
  if (state.signedOut) notice.hide();
  state.signedOut = false;
  sessionChanged();
  draw();
}

function logged({ event: type, data }) {
  const conversation = openConversation();
  if (type === "session.updated") sessionChanged();
  if (type === "turn.started" && !data.resumed) announcer.say("The answer is being written.");
  if (type === "model.retrying") announcer.say("The model broke off; it is asked again.");
  if (type === "message.completed" || type === "turn.failed") pageTitle.answered();
  if (type === "message.completed") announceAnswer(conversation, plainText(data.message.parts));
  if (type === "turn.failed") announcer.say(`The answer failed. ${errorDetail(data.error) ?? ""}`);
  if (type === "turn.cancelled" && data.reason !== "handoff") announcer.say("Stopped.");
  if (type === "message.created" && data.message.author === "human") {
    pageTitle.answered();
    announcer.say(`${authorName(data.message.parts)}: ${plainText(data.message.parts)}`);
  }
  if (type === "turn.waiting" && data.for === "budget") announcer.say(`${WAITS_FOR_BUDGET}.`);
  if (type === "quota.warning") announcer.say(quotaBar.show(data) ?? "");
  if (type === "approval.requested") approvalRequested(data);
  if (type === "approval.decided") announcer.say(decisionWords(data) ?? "");
  if (type.startsWith("handoff.")) announcer.say(handoffWords(conversation));
  draw();
}

function approvalRequested(approval) {
  announcer.say(approvalWords(approval));
  if (approval.who === "user") pageTitle.answered();
}

// An answer that broke off may have no words, only reasoning.
function announceAnswer({ session }, words) {
  if (words) announcer.say(`${agentName(session.agent)}: ${words}`);
}

function sessionChanged() {
  const { session } = openConversation();
  if (sidebar.find(session.id)) sidebar.put(session);
  drawHeader();
}

function connectionChanged(change) {
  banner.update(change, openConversation() !== null);
  if (change.status === "signed-out") signedOut();
  if (change.status === "gone") gone();
  draw();
}

// The open chat was deleted elsewhere. What was just written there may begin another one.
function gone(text = "") {
  sidebar.drop(state.openId);
  goHome();
  if (text && !composer.value) composer.put(text);
  notice.show("This chat does not exist any more.");
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
  setText(byId("agent-name"), agentName(session?.agent ?? (state.openId ? null : welcome.slug)));
  byId("session-actions").hidden = !session;
  pageTitle.show(session ? `${titleOf(session)} · Bandstand` : "Bandstand");
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
  if (!conversation || conversation.torn) return; // what is missing is being read
  const exchanges = conversation.exchanges();
  const pending = state.pending.items(conversation, state.live.status === "live", state.signedOut);
  // What is asked in a branch is shown where the branch begins.
  const cut = exchanges.findIndex(({ message }) => pending.some(({ parent }) => parent === message.parent));
  const visible = cut < 0 ? exchanges : exchanges.slice(0, cut);
  const change = () => transcript.draw(visible, pending);
  if (state.kept && transcript.nodeOf(state.kept.from) && visible.some(({ key }) => key === state.kept.to)) switchBranch(change);
  else change();
  const open = conversation.openTurn;
  stopButton.hidden = !open;
  stopButton.disabled = open?.status === "cancelling" || state.live.status !== "live";
  byId("beginning").hidden = conversation.older || !visible.length;
  handoffBar.update(conversation, Boolean(mayChat));
  byId("transcript").dataset.controller = conversation.controlled ? "human" : "agent";
  addressComposer(conversation.controlled ? personName(conversation.handoff.assignee) : null);
  clearTimeout(state.counting);
  if (pending.some(({ counts }) => counts)) state.counting = setTimeout(draw, 1000);
}

// Say in the message box who reads what is written there: the person `name`; null: the agent.
function addressComposer(name) {
  const words = name ? `Write to ${name === personName(null) ? "the person" : name}` : "Write a message";
  if (byId("text").placeholder !== words) byId("text").placeholder = words;
}

// --- sending ---

// Resolves to whether the message is in good hands.
async function send(text) {
  if (!state.signedOut) notice.hide();
  if (!state.live && !(await makeChat())) return false;
  state.live.send(text);
  if (openConversation()) openConversation().handoffEnd = null; // who goes on has read it
  const session = openSession();
  if (session) sidebar.spokenIn(session);
  viewport.toEnd();
  return true;
}

async function makeChat() {
  if (state.beginning) return false;
  state.beginning = true;
  try {
    const session = await api.createSession(welcome.slug);
    const meanwhile = composer.value;
    composer.put("");
    leave();
    sidebar.put(session);
    history.pushState(null, "", `#${session.id}`);
    enter(session.id);
    if (meanwhile) composer.put(meanwhile);
    composer.focus();
    return true;
  } catch (error) {
    failed(error, "The chat could not be started.");
    return false;
  } finally {
    state.beginning = false;
  }
}

function askAgain(text, parent) {
  notice.hide();
  state.live.send(text, parent);
  focusComposer();
  viewport.following = true;
}

function stop() {
  const open = openConversation()?.openTurn;
  if (open && !ENDED.has(open.status) && state.live.cancel(open.id)) stopButton.disabled = true;
  focusComposer();
}

// --- people ---

// Resolves to whether the server has taken it; the log says what has come of it.
async function forPerson(answer, words) {
  try {
    await answer;
    if (!state.signedOut) notice.hide(); // of an attempt before
    return true;
  } catch (error) {
    failed(error, words);
    return false;
  }
}

// Whether somebody is there changes without an event of the chat whose user waits.
async function readDuty() {
  const conversation = openConversation();
  const { handoff } = conversation ?? {};
  if (document.hidden || state.signedOut || handoff?.state !== "pending") return;
  try {
    const { on_duty: onDuty } = await api.readHandoff(state.openId);
    if (conversation !== openConversation() || conversation.handoff !== handoff || handoff.on_duty === onDuty) return;
    handoff.on_duty = onDuty;
    announcer.say(handoffWords(conversation));
    draw();
  } catch {
    // The next time, perhaps.
  }
}

function decide(turn, approval, decision, note) {
  return forPerson(api.decideApproval(turn, approval, decision, note), "Your decision could not be stored.");
}

// --- branches and feedback ---

async function choose({ id, head }, { of, step, index, count }) {
  const exchanges = openConversation().exchanges();
  const from = exchanges.find(({ questions, answers }) => [...questions, ...answers].some((version) => version.id === id))?.key;
  state.kept = { from, to: id, of, step };
  try {
    await api.chooseHead(state.openId, head);
    announcer.say(`Version ${index + 1} of ${count}.`);
  } catch (error) {
    state.kept = null;
    failed(error, "The other version could not be shown.");
  }
}

function switchBranch(change) {
  const { from, to, ...button } = state.kept;
  state.kept = null;
  viewport.keep(transcript.nodeOf(from), change, () => transcript.nodeOf(to));
  transcript.focusVersions(to, button);
}

async function feedback(message, rating) {
  try {
    if (rating) await api.putFeedback(message.id, rating.value, rating.comment);
    else await api.deleteFeedback(message.id);
    return true;
  } catch (error) {
    failed(error, "The feedback could not be stored.");
    return false;
  }
}

// --- what became of a chat ---

function renamed(session) {
  if (state.openId === session.id && state.live.conversation) state.live.conversation.session = session;
  if (sidebar.find(session.id)) sidebar.put(session);
  drawHeader();
}

function deleted(session) {
  sidebar.drop(session.id);
  localStorage.removeItem(OUTBOX + session.id);
  if (state.openId === session.id) goHome();
  else focusComposer();
  announcer.say("The chat is deleted.");
}

// --- notices, the search and the sidebar ---

function failed(error, words, why = error.message) {
  if (error.signedOut) signedOut();
  else notice.show(`${words} ${why}`, { reference: error.reference });
}

function openSearch() {
  toggleSidebar(true);
  byId("search").focus();
  byId("search").select();
}

function toggleSidebar(open) {
  const visible = open && NARROW.matches;
  app.classList.toggle("app--menu", visible);
  byId("sidebar").inert = NARROW.matches && !open;
  byId("menu").setAttribute("aria-expanded", String(visible));
  if (visible) byId("new-chat").focus();
}

start();
