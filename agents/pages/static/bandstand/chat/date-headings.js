// The headings of the list of chats.

const DAY_MS = 24 * 60 * 60 * 1000;

// The heading for what happened at `moment`, seen from `now`: two dates.
export function dateHeading(moment, now = new Date()) {
  // Midnights are 23, 24 or 25 hours apart.
  const days = Math.round((midnight(now) - midnight(moment)) / DAY_MS);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= 7) return "Previous 7 days";
  if (days <= 30) return "Previous 30 days";
  return moment.toLocaleDateString("en", { month: "long", year: "numeric" });
}

const midnight = (moment) => new Date(moment.getFullYear(), moment.getMonth(), moment.getDate());
