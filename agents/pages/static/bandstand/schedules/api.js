// The HTTP calls of the page of schedules.

import { call, callNext } from "../shared/http.js";

export const listAgents = async () => {
  const answer = await call("GET", "agents");
  return Array.isArray(answer) ? answer : answer.results;
};

export const getSession = (id) => call("GET", `sessions/${id}`);

// One page: {results, next}.
export const listSchedules = (next = null) => (next ? callNext(next) : call("GET", "schedules"));

export const createSchedule = (body) => call("POST", "schedules", { body });

export const updateSchedule = ({ id, version }, body) => call("PATCH", `schedules/${id}`, { body, ifMatch: version });

export const pauseSchedule = ({ id }) => call("POST", `schedules/${id}/pause`);

export const resumeSchedule = ({ id }) => call("POST", `schedules/${id}/resume`);

export const deleteSchedule = ({ id, version }) => call("DELETE", `schedules/${id}`, { ifMatch: version });

// What a timing, {cron, time_zone} or {at, time_zone}, comes to: {description, upcoming}.
export const describeTiming = (timing) => call("GET", `/chat/timing?${new URLSearchParams(timing)}`);
