// Small comforts of the console's pages: ids and secrets are copied, times go on, long work is followed, and what the
// library shows by an icon alone has a name for those who hear the page.

import { copy } from "../shared/clipboard.js";

const AGE_UNITS = [
  [120, 1, "s"],
  [7200, 60, "min"],
  [172800, 3600, "h"],
  [Infinity, 86400, "d"],
];

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) copy(button.dataset.copy, button);
});

for (const field of document.querySelectorAll("[data-select]")) {
  field.addEventListener("focus", () => field.select());
}

function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds / 1000);
  const [, size, unit] = AGE_UNITS.find(([limit]) => seconds < limit);
  return `${Math.round(seconds / size)} ${unit}`;
}

const ages = {
  "time[data-ago]": (age) => `${duration(age)} ago`,
  "time[data-elapsed]": (age) => duration(age),
  "time[data-due]": (age) => (age > 0 ? `${duration(age)} late` : `in ${duration(-age)}`),
};

function updateAges() {
  for (const [selector, words] of Object.entries(ages)) {
    for (const time of document.querySelectorAll(selector)) {
      const age = Date.now() - Date.parse(time.dateTime);
      time.textContent = words(age);
      if ("due" in time.dataset) time.classList.toggle("bs-due--late", age > 0);
    }
  }
}

setInterval(updateAges, 10000);

// The page of a long act asks for itself until the act is over. Nothing is replaced while somebody presses its button.
async function follow() {
  const current = document.querySelector("[data-follow]");
  if (!current || "over" in current.dataset) return;
  try {
    const answer = document.hidden ? null : await fetch(location.href, { redirect: "error" });
    const page = answer?.ok ? new DOMParser().parseFromString(await answer.text(), "text/html") : null;
    const fresh = page?.querySelector("[data-follow]");
    if (fresh && !current.contains(document.activeElement)) current.replaceWith(fresh);
  } catch {
    // The next time, perhaps.
  }
  setTimeout(follow, 2000);
}

setTimeout(follow, 2000);

// The numbers beside entries of the sidebar.
async function count() {
  for (const place of document.querySelectorAll("[data-count]")) {
    try {
      const answer = document.hidden ? null : await fetch(place.dataset.count, { redirect: "error" });
      const { count: number, title } = answer?.ok ? await answer.json() : {};
      if (number !== undefined) place.textContent = number || "";
      if (number !== undefined) place.title = title;
    } catch {
      // The next time, perhaps.
    }
  }
}

if (document.querySelector("[data-count]")) {
  count();
  setInterval(count, 10000);
}

const NAMES = { search: "Search", more_horiz: "More", add: "Add", arrow_back: "Back" };

// The library writes icons as words in a font of their own; read aloud they say "space_dashboard Overview".
for (const icon of document.querySelectorAll(".material-symbols-outlined")) {
  const holder = icon.closest("a, button") ?? icon.parentElement;
  if (holder.textContent.trim() === icon.textContent.trim() && !holder.ariaLabel) {
    holder.ariaLabel = holder.title || NAMES[icon.textContent.trim()] || null;
    if (!holder.matches("a, button")) holder.role = "img";
  }
  icon.ariaHidden = "true";
}

const search = document.getElementById("searchbar");
if (search) search.ariaLabel = `Search: ${search.placeholder}`;
const content = document.getElementById("content");
if (content) content.role = "main";
