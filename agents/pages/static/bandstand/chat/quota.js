// What the page says of budgets. No DOM.

const WHOSE = {
  user: "your budget",
  each_user: "your budget",
  key: "the budget of your API key",
  group: "the budget of your group",
  agent: "the budget of this agent",
  everybody: "the budget of this service",
};
const PERIODS = { hour: "this hour", day: "today", week: "this week", month: "this month" };
// The server's sentence, in whose place stands one with the time of the reader's own clock.
const AGAIN = / It begins anew on \d{4}-\d\d-\d\d at \d\d:\d\d UTC\./;

// `warning`: the data of `quota.warning`. `when` is its `resets_at` as a time for people.
export function quotaWords({ subject, period, used_percent: percent }, when) {
  const budget = `${WHOSE[subject] ?? "a budget"} for ${PERIODS[period] ?? "now"}`;
  const used = percent >= 100 ? `${budget[0].toUpperCase()}${budget.slice(1)} is used up.` : `${percent} % of ${budget} is used.`;
  return `${used} It begins anew: ${when}.`;
}

// `detail` of an error that says when a budget begins anew; `when` is that moment as a time for people.
export function withLocalTime(detail, when) {
  return detail.replace(AGAIN, ` It begins anew: ${when}.`);
}

// Whether a warning still says something at `now`, in milliseconds.
export function isCurrent({ resets_at: resetsAt }, now) {
  return Date.parse(resetsAt) > now;
}
