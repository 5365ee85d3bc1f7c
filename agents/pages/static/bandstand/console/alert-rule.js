// The form of an alert rule: labels that the metric has not are hidden, and what the rule would have done is shown anew as
// fields change.

import { morph } from "../shared/morph.js";

const PAUSE = 400;

const form = document.getElementById("rule-form");
const preview = document.getElementById("preview");
if (form && preview) follow();

function show(html) {
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  for (const details of fresh.content.querySelectorAll("details[data-key]")) {
    details.open = preview.querySelector(`details[data-key="${CSS.escape(details.dataset.key)}"]`)?.open ?? false;
  }
  morph(preview, fresh.content);
}

function follow() {
  let timer = 0;
  let asking = null;

  function showLabels() {
    const metric = form.elements.metric.value;
    for (const row of form.querySelectorAll("[data-metrics]")) {
      row.hidden = !row.dataset.metrics.split(" ").includes(metric);
      const scope = row.querySelector("select");
      const value = row.querySelector("input");
      value.closest(".group").hidden = scope.value !== "one";
    }
  }

  async function refresh() {
    asking?.abort();
    asking = new AbortController();
    preview.ariaBusy = "true";
    try {
      const answer = await fetch(form.dataset.preview, {
        method: "POST",
        body: new FormData(form),
        redirect: "error",
        signal: asking.signal,
      });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      show(await answer.text());
    } catch (error) {
      if (error.name === "AbortError") return;
      const note = document.createElement("p");
      note.className = "bs-note bs-note--warn";
      note.textContent = "The preview could not be made. Press Preview to see it.";
      preview.replaceChildren(note);
    }
    preview.ariaBusy = null;
  }

  form.addEventListener("input", () => {
    showLabels();
    clearTimeout(timer);
    timer = setTimeout(refresh, PAUSE);
  });
  // The same as the button does without script, but at once and in place.
  form.querySelector("[name=_preview]").addEventListener("click", async (event) => {
    event.preventDefault();
    clearTimeout(timer);
    await refresh();
    preview.scrollIntoView({ block: "nearest" });
  });
  showLabels();
}
