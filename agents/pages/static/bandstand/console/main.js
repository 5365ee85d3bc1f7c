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

function updateAges() {
  for (const time of document.querySelectorAll("time[data-ago]")) {
    const seconds = Math.max(0, (Date.now() - Date.parse(time.dateTime)) / 1000);
    const [, size, unit] = AGE_UNITS.find(([limit]) => seconds < limit);
    time.textContent = `${Math.round(seconds / size)} ${unit} ago`;
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
