// The HTTP calls of the page of memories.

import { BASE, call, callNext } from "../shared/http.js";

// One page: {results, next}. `history`: also what holds no longer.
export const listMemories = ({ tier, history = false, next = null }) =>
  next ? callNext(next) : call("GET", `memories?tier=${tier}${history ? "&history=true" : ""}`);

export const searchMemories = async (query, tier) =>
  (await call("POST", "memories/search", { body: { query, tier, k: 20 } })).results;

export const addMemory = (text) => call("POST", "memories", { body: { text } });

export const reviseMemory = ({ id, version }, text) => call("PATCH", `memories/${id}`, { body: { text }, ifMatch: version });

export const deleteMemory = ({ id, version }) => call("DELETE", `memories/${id}`, { ifMatch: version });

// Delete everything, piece by piece; resolves to how many memories that were.
export async function deleteAll() {
  let deleted = 0;
  for (;;) {
    const answer = await call("DELETE", "memories?all=true");
    deleted += answer.deleted;
    if (!answer.more) return deleted;
  }
}

export const EXPORT = `${BASE}/memories/export`;
