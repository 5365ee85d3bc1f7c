// The REST calls that the chat page needs, with the browser's login.

const BASE = "/api/v1";

export class ApiError extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || "The server could not be reached.");
    this.status = status;
    this.code = problem.code ?? null;
  }
}

// Read at every call: a login in another tab gives the browser a new one.
function csrfToken() {
  const name = `${document.body.dataset.csrfCookie}=`;
  return document.cookie.split("; ").find((cookie) => cookie.startsWith(name))?.slice(name.length) ?? "";
}

async function call(method, path, { body, ifMatch } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (ifMatch !== undefined) headers["If-Match"] = `"${ifMatch}"`;
  if (method !== "GET") headers["X-CSRFToken"] = csrfToken();
  let response;
  try {
    response = await fetch(path.startsWith("/") ? path : `${BASE}/${path}`, {
      method,
      headers,
      credentials: "same-origin",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, {});
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (!response.ok) throw new ApiError(response.status, answer ?? {});
  return answer;
}

export const listAgents = async () => {
  const answer = await call("GET", "agents");
  return Array.isArray(answer) ? answer : answer.results;
};

// One page: {results, next}. `next` is the address of the page after it, or null.
export const listSessions = (next = null) => {
  if (!next) return call("GET", "sessions");
  const { pathname, search } = new URL(next, location.origin);
  return call("GET", pathname + search);
};

export const createSession = (agent, title) => call("POST", "sessions", { body: { agent, title } });

export const getSession = (id) => call("GET", `sessions/${id}`);

export const renameSession = (session, title) =>
  call("PATCH", `sessions/${session.id}`, { body: { title }, ifMatch: session.version });

export const deleteSession = (session) => call("DELETE", `sessions/${session.id}`, { ifMatch: session.version });
