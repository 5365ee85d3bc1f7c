// The HTTP calls of the chat page, with the browser's login.

const BASE = "/api/v1";

// `status` 0: the server could not be reached. `reference` is what support asks for; `retryAfterMs` what the server asked.
export class ApiError extends Error {
  constructor(status, problem, retryAfterMs = null) {
    super(problem.errors?.[0]?.detail || problem.detail || problem.title || "The server could not be reached.");
    this.status = status;
    this.code = problem.code ?? null;
    this.reference = problem.instance?.replace("urn:uuid:", "") ?? null;
    this.retryAfterMs = retryAfterMs;
  }

  get signedOut() {
    return this.status === 401 || this.code === "csrf_failed";
  }

  // Whether the same call may well succeed in a moment.
  get passing() {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }
}

// Read at every call: a login in another tab gives the browser a new one.
function csrfToken() {
  const name = `${document.body.dataset.csrfCookie}=`;
  return document.cookie.split("; ").find((cookie) => cookie.startsWith(name))?.slice(name.length) ?? "";
}

async function call(method, path, { body, ifMatch, keepalive = false } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (ifMatch !== undefined) headers["If-Match"] = `"${ifMatch}"`;
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  let response;
  try {
    response = await fetch(path.startsWith("/") ? path : `${BASE}/${path}`, {
      method,
      headers,
      keepalive,
      credentials: "same-origin",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, {});
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (!response.ok) {
    const seconds = Number(response.headers.get("Retry-After"));
    throw new ApiError(response.status, answer ?? {}, seconds > 0 ? seconds * 1000 : null);
  }
  return answer;
}

export const listAgents = async () => {
  const answer = await call("GET", "agents");
  return Array.isArray(answer) ? answer : answer.results;
};

// One page: {results, next}. `next` is the address of the page after it, or null.
export const listSessions = ({ search = "", next = null } = {}) => {
  if (next) {
    const { pathname, search: query } = new URL(next, location.origin);
    return call("GET", pathname + query);
  }
  return call("GET", search ? `sessions?search=${encodeURIComponent(search)}` : "sessions");
};

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

export const putFeedback = (message, value, comment) =>
  call("PUT", `messages/${message}/feedback`, { body: comment ? { value, comment } : { value } });

export const deleteFeedback = (message) => call("DELETE", `messages/${message}/feedback`);

// The newest exchanges of a conversation, or those before the message `before`; see `read_window`.
export const readWindow = (id, before = null) =>
  call("GET", `/chat/sessions/${id}/messages${before ? `?before=${before}` : ""}`);

export const renderMarkdown = async (text) => (await call("POST", "/chat/render", { body: { text } })).html;
