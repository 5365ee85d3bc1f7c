// The menu of one chat. One element serves the header and every line of the list.

export class Menu {
  // `choose(action, session)` is called with the `data-action` of what was chosen.
  constructor(node, choose) {
    this.node = node;
    this.button = null;
    node.addEventListener("click", ({ target }) => {
      const item = target.closest("[data-action], a");
      if (!item) return;
      const { session } = this;
      this.close({ focus: true }); // a dialog gives the focus back to where it was
      if (item.dataset.action) choose(item.dataset.action, session);
    });
    node.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("pointerdown", ({ target }) => {
      if (this.button && !node.contains(target) && !this.button.contains(target)) this.close();
    });
    addEventListener("resize", () => this.close());
    node.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget && !node.contains(relatedTarget)) this.close();
    });
  }

  get open() {
    return this.button !== null;
  }

  toggle(button, session) {
    const again = this.button === button;
    this.close();
    if (again) return;
    this.button = button;
    this.session = session;
    button.setAttribute("aria-expanded", "true");
    this.node.hidden = false;
    this.#place(button);
    this.items[0].focus();
  }

  close({ focus = false } = {}) {
    if (!this.button) return;
    const { button } = this;
    this.button = null;
    this.node.hidden = true;
    button.setAttribute("aria-expanded", "false");
    if (focus && button.isConnected) button.focus();
  }

  get items() {
    return [...this.node.querySelectorAll("button, a")];
  }

  #place(button) {
    const { left, bottom, right } = button.getBoundingClientRect();
    const { offsetWidth: width, offsetHeight: height } = this.node;
    const x = left + width + 8 > innerWidth ? right - width : left;
    this.node.style.left = `${Math.max(8, x)}px`;
    this.node.style.top = `${Math.max(8, Math.min(bottom + 4, innerHeight - height - 8))}px`;
  }

  #key(event) {
    const { items } = this;
    const index = items.indexOf(document.activeElement);
    const to = { ArrowDown: index + 1, ArrowUp: index - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Escape") {
      event.stopPropagation();
      this.close({ focus: true });
    } else if (to !== undefined) {
      event.preventDefault();
      items.at(to % items.length).focus();
    }
  }
}
