// HTTP calls with the browser's login.

export const BASE = "/api/v1";

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

export async function call(method, path, { body, ifMatch, key, keepalive = false } = {}) {
  const headers = { Accept: "application/json" };
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (ifMatch !== undefined) headers["If-Match"] = `"${ifMatch}"`;
  if (key !== undefined) headers["Idempotency-Key"] = key;
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

// One page of a list: {results, next}. `next` is the address of the page after it, or null.
export function callNext(next) {
  const { pathname, search } = new URL(next, location.origin);
  return call("GET", pathname + search);
}
