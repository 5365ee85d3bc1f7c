// Between the fields of the form and what the API takes: {cron, time_zone} or {at, time_zone}. Pure.

export const BROWSER_ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

const TIMES = /^(\d{1,2}) (\d{1,2}) (\S+) \* (\S+)$/;
const two = (number) => String(number).padStart(2, "0");

// The fields of a timing: {repeat, time, days, monthDay, date, cron, zone}; `repeat` is one of daily, weekdays, days,
// monthly, once and cron.
export function toFields({ cron, at, time_zone: zone }) {
  const fields = { repeat: "cron", time: "08:00", days: [], monthDay: "1", date: "", cron: cron ?? "", zone };
  if (at) return { ...fields, repeat: "once", ...wallClock(at, zone) };
  const [, minute, hour, monthDay, weekdays] = TIMES.exec(cron ?? "") ?? [];
  if (!minute) return fields;
  const timed = { ...fields, time: `${two(hour)}:${two(minute)}` };
  if (monthDay === "*" && weekdays === "*") return { ...timed, repeat: "daily" };
  if (monthDay === "*" && weekdays === "1-5") return { ...timed, repeat: "weekdays" };
  if (monthDay === "*" && /^[0-6](,[0-6])*$/.test(weekdays)) return { ...timed, repeat: "days", days: weekdays.split(",") };
  if (/^(\d+|L)$/.test(monthDay) && weekdays === "*") return { ...timed, repeat: "monthly", monthDay: monthDay.replace(/^0+/, "") };
  return fields;
}

// What the API takes; null while something is missing.
export function toTiming({ repeat, time, days, monthDay, date, cron, zone }) {
  if (repeat === "cron") return cron.trim() ? { cron: cron.trim(), time_zone: zone } : null;
  if (!time) return null;
  if (repeat === "once") return date ? { at: momentOf(date, time, zone), time_zone: zone } : null;
  if (repeat === "days" && !days.length) return null;
  const [hour, minute] = time.split(":").map(Number);
  const daily = { daily: "* * *", weekdays: "* * 1-5", days: `* * ${days.join(",")}`, monthly: `${monthDay} * *` }[repeat];
  return { cron: `${minute} ${hour} ${daily}`, time_zone: zone };
}

// The date and time that the clocks of `zone` show at a moment.
export function wallClock(moment, zone) {
  const format = new Intl.DateTimeFormat("en-CA", { timeZone: zone, dateStyle: "short", timeStyle: "short", hourCycle: "h23" });
  const [date, time] = format.format(new Date(moment)).split(", ");
  return { date, time };
}

// The moment at which the clocks of `zone` show `date` and `time`.
export function momentOf(date, time, zone) {
  const shown = Date.parse(`${date}T${time}:00Z`);
  let moment = shown;
  // Twice: the first guess may lie on the other side of a change of the clocks.
  for (let round = 0; round < 2; round++) {
    const clock = wallClock(moment, zone);
    moment += shown - Date.parse(`${clock.date}T${clock.time}:00Z`);
  }
  return new Date(moment).toISOString();
}

// The names of all time zones that the browser lists, and `zone`: of two names for one zone it lists only one.
export function timeZones(zone) {
  const names = Intl.supportedValuesOf?.("timeZone") ?? [];
  return [...new Set(["UTC", BROWSER_ZONE, zone, ...names])].toSorted();
}

// A moment as people of that zone say it, with its year unless that is the present one.
export function formatMoment(moment, zone) {
  const at = new Date(moment);
  const year = at.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  const options = { timeZone: zone, weekday: "short", day: "numeric", month: "short", year, hour: "2-digit", minute: "2-digit" };
  return new Intl.DateTimeFormat(undefined, options).format(at);
}
