// The HTTP calls of the chat page.

import { BASE, call, callNext } from "../shared/http.js";

export const listAgents = async () => {
  const answer = await call("GET", "agents");
  return Array.isArray(answer) ? answer : answer.results;
};

// One page: {results, next}. `next` is the address of the page after it, or null.
export const listSessions = ({ search = "", next = null } = {}) =>
  next ? callNext(next) : call("GET", search ? `sessions?search=${encodeURIComponent(search)}` : "sessions");

export const createSession = (agent) => call("POST", "sessions", { body: { agent } });

export const getSession = (id) => call("GET", `sessions/${id}`);

// Change a session from what it is now. Somebody else may change it at the same moment; the change is then made again.
async function change(id, body) {
  for (let attempt = 1; ; attempt++) {
    const { version } = await getSession(id);
    try {
      return await call("PATCH", `sessions/${id}`, { body, ifMatch: version });
    } catch (error) {
      if (error.status !== 412 || attempt === 3) throw error;
    }
  }
}

export const renameSession = (id, title) => change(id, { title });

export const chooseHead = (id, head) => change(id, { head });

export const deleteSession = async (id) => {
  const { version } = await getSession(id);
  return call("DELETE", `sessions/${id}`, { ifMatch: version });
};

export const exportAddress = (id, format) => `${BASE}/sessions/${id}/export${format === "json" ? "" : `?format=${format}`}`;

export const requestHandoff = (id, reason) => call("POST", `sessions/${id}/handoff`, { body: reason ? { reason } : {} });

export const readHandoff = (id) => call("GET", `sessions/${id}/handoff`);

export const withdrawHandoff = (id) => call("DELETE", `sessions/${id}/handoff`);

// `key`: the same for each try, so that it is stored once.
export const leaveMessage = (id, text, key) => call("POST", `sessions/${id}/handoff/message`, { body: { text }, key });

export const decideApproval = (turn, approval, decision, note) =>
  call("POST", `turns/${turn}/approvals/${approval}`, { body: note ? { decision, note } : { decision } });

export const putFeedback = (message, value, comment) =>
  call("PUT", `messages/${message}/feedback`, { body: comment ? { value, comment } : { value } });

export const deleteFeedback = (message) => call("DELETE", `messages/${message}/feedback`);

// The newest exchanges of a conversation, or those before the message `before`; see `read_window`.
export const readWindow = (id, before = null) =>
  call("GET", `/chat/sessions/${id}/messages${before ? `?before=${before}` : ""}`);

export const renderMarkdown = async (text) => (await call("POST", "/chat/render", { body: { text } })).html;
