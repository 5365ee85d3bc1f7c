// Where a new chat begins: with which agent, or why with none.

import { element, setText } from "../shared/dom.js";

export class Welcome {
  // `chosen()` is called when another agent was chosen.
  constructor({ node, chosen }) {
    this.node = node;
    this.heading = node.querySelector("h2");
    this.about = node.querySelector("p");
    this.choice = node.querySelector("fieldset");
    this.list = this.choice.querySelector("div");
    this.slug = null;
    this.list.addEventListener("change", ({ target }) => {
      this.slug = target.value;
      chosen();
    });
  }

  offer(agents) {
    if (!agents.length) {
      this.refuse("There is no agent for you yet", "Whoever runs this system can make one, or put you into a group that has one.");
      return;
    }
    this.slug = agents[0].slug;
    this.list.replaceChildren(...agents.map((agent) => this.#agent(agent)));
    this.choice.hidden = agents.length < 2;
    setText(this.about, agents.length === 1 ? (agents[0].description ?? "") : "");
  }

  refuse(heading, words) {
    this.slug = null;
    this.choice.hidden = true;
    setText(this.heading, heading);
    setText(this.about, words);
  }

  get shown() {
    return !this.node.hidden;
  }

  #agent({ slug, name, description }) {
    return element(
      "label",
      { class: "agent" },
      element("input", { type: "radio", name: "agent", value: slug, checked: slug === this.slug }),
      element(
        "span",
        { class: "agent__words" },
        element("span", { class: "agent__name" }, name),
        description ? element("span", { class: "agent__description" }, description) : null,
      ),
    );
  }
}
