// The form of a schedule: what is asked, whom, and when, with what that comes to before it is saved.

import { element, setText } from "../shared/dom.js";
import * as api from "./api.js";
import { BROWSER_ZONE, formatMoment, timeZones, toFields, toTiming } from "./timing.js";

const DESCRIBE_AFTER_MS = 250;
const REPEATS = {
  daily: "Every day",
  weekdays: "Every weekday",
  days: "On certain days of the week",
  monthly: "Every month",
  once: "Once",
  cron: "By a cron expression",
};
const DAYS = { 1: "Mon", 2: "Tue", 3: "Wed", 4: "Thu", 5: "Fri", 6: "Sat", 0: "Sun" };
const DEFAULTS = { cron: "0 8 * * 1-5", at: null, time_zone: BROWSER_ZONE };

let ids = 0;

const options = (pairs, chosen) => pairs.map(([value, words]) => element("option", { value, selected: value === chosen }, words));

function labelled(words, field, hint = null) {
  field.id = `field-${++ids}`;
  if (hint) field.setAttribute("aria-describedby", `${field.id}-hint`);
  return element(
    "div",
    { class: "form__field" },
    element("label", { for: field.id }, words),
    field,
    hint && element("small", { id: `${field.id}-hint` }, hint),
  );
}

// `schedule` null: a new one, for one of the `agents` or, if it is there, in the chat `session`. `save(body)` resolves to
// whether it was saved; `cancel()` closes the form.
export class ScheduleForm {
  constructor({ schedule = null, agents = [], session = null, save, cancel }) {
    this.fields = toFields(schedule ?? DEFAULTS);
    this.schedule = schedule;
    this.session = session;
    this.save = save;
    this.text = element("textarea", { class: "field", rows: "3", dir: "auto", required: true, maxlength: "65536" });
    this.text.value = schedule?.text ?? "";
    this.agent = element("select", { class: "field" }, ...options(agents.map(({ slug, name }) => [slug, name])));
    this.repeat = element("select", { class: "field" }, ...options(Object.entries(REPEATS), this.fields.repeat));
    this.time = element("input", { class: "field", type: "time", required: true, value: this.fields.time });
    this.date = element("input", { class: "field", type: "date", required: true, value: this.fields.date });
    this.cron = element("input", {
      class: "field form__cron",
      autocomplete: "off",
      spellcheck: "false",
      maxlength: "100",
      required: true,
      value: this.fields.cron,
    });
    const monthDays = Array.from({ length: 31 }, (_, index) => [String(index + 1), `on day ${index + 1}`]);
    this.monthDay = element("select", { class: "field" }, ...options([...monthDays, ["L", "on the last day"]], this.fields.monthDay));
    const zones = timeZones(this.fields.zone).map((name) => [name, name.replaceAll("_", " ")]);
    this.zone = element("select", { class: "field" }, ...options(zones, this.fields.zone));
    this.days = element("fieldset", { class: "form__days" }, element("legend", {}, "Days"), ...this.#dayBoxes());
    this.preview = element("p", { class: "form__preview", role: "status" });
    this.problem = element("p", { class: "notice", role: "alert", hidden: true });
    this.node = this.#build(cancel);
    this.node.addEventListener("submit", (event) => this.#submit(event));
    this.node.addEventListener("input", () => this.#changed());
    this.node.addEventListener("keydown", (event) => {
      // While an input method composes, Escape gives up the characters, not the form.
      if (event.key === "Escape" && !event.isComposing) cancel();
    });
    this.#changed();
  }

  focus() {
    this.text.focus();
  }

  #build(cancel) {
    const where = this.session
      ? element("p", { class: "form__where" }, "It goes on in the chat “", element("bdi", {}, this.session.title || "New chat"), "”.")
      : labelled("Who should answer?", this.agent, "Each time in a new chat. To go on in one, open its menu and choose Schedule.");
    this.rows = {
      days: this.days,
      monthly: labelled("Day", this.monthDay),
      once: labelled("Date", this.date),
      cron: labelled("Cron expression", this.cron, "Minute, hour, day of the month, month, day of the week"),
      time: labelled("Time", this.time),
    };
    return element(
      "form",
      { class: "form", "aria-label": this.schedule ? "Change the schedule" : "New schedule" },
      labelled("What should be asked?", this.text),
      this.schedule ? null : where,
      element(
        "div",
        { class: "form__row" },
        labelled("When?", this.repeat),
        this.rows.monthly,
        this.rows.once,
        this.rows.time,
        this.rows.cron,
        labelled("Time zone", this.zone),
      ),
      this.days,
      this.preview,
      this.problem,
      element(
        "div",
        { class: "form__actions" },
        element("button", { class: "button", type: "submit" }, this.schedule ? "Save" : "Create"),
        element("button", { class: "button button--plain", type: "button", onclick: cancel }, "Cancel"),
      ),
    );
  }

  #dayBoxes() {
    return Object.entries(DAYS)
      .toSorted(([one], [other]) => ((Number(one) + 6) % 7) - ((Number(other) + 6) % 7))
      .map(([day, words]) =>
        element(
          "label",
          { class: "form__day" },
          element("input", { type: "checkbox", value: day, checked: this.fields.days.includes(day) }),
          element("span", {}, words),
        ),
      );
  }

  #timing() {
    const days = [...this.days.querySelectorAll("input:checked")].map(({ value }) => value).toSorted();
    return toTiming({
      repeat: this.repeat.value,
      time: this.time.value,
      days,
      monthDay: this.monthDay.value,
      date: this.date.value,
      cron: this.cron.value,
      zone: this.zone.value,
    });
  }

  #changed() {
    const repeat = this.repeat.value;
    for (const [name, row] of Object.entries(this.rows)) {
      const shown = name === "time" ? repeat !== "cron" : name === repeat;
      row.hidden = !shown;
      // A field that is not there must not keep the form from being sent.
      for (const field of row.querySelectorAll("input, select")) field.disabled = !shown;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#describe(), DESCRIBE_AFTER_MS);
  }

  async #describe() {
    const timing = this.#timing();
    const request = (this.request = timing);
    if (!timing) {
      setText(this.preview, this.repeat.value === "days" ? "Choose at least one day." : "");
      return;
    }
    let words;
    try {
      const { description, upcoming } = await api.describeTiming(timing);
      const next = upcoming.map((moment) => formatMoment(moment, timing.time_zone)).join(" · ");
      words = `${description[0].toUpperCase()}${description.slice(1)}.${timing.at ? "" : ` Next: ${next}`}`;
    } catch (error) {
      words = error.message;
    }
    if (request === this.request) setText(this.preview, words);
  }

  async #submit(event) {
    event.preventDefault();
    const timing = this.#timing();
    if (!timing || !this.text.value.trim()) return;
    const target = this.session ? { session: this.session.id } : { agent: this.agent.value };
    const body = { text: this.text.value, ...timing, ...(this.schedule ? {} : target) };
    const button = this.node.querySelector("[type=submit]");
    button.disabled = true;
    this.problem.hidden = true;
    try {
      await this.save(body);
    } catch (error) {
      setText(this.problem, error.signedOut ? "You are signed out. Load this page again to sign in." : error.message);
      this.problem.hidden = false;
      button.disabled = false;
    }
  }
}
