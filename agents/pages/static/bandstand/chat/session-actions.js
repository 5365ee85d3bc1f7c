// What one does with a whole chat, by its menu: rename, schedule, export, delete.

import { ask } from "../shared/dialogs.js";
import { setText } from "../shared/dom.js";
import { Menu } from "../shared/menu.js";
import * as api from "./api.js";
import { titleOf } from "./sidebar.js";

const byId = (id) => document.getElementById(id);

export class SessionActions {
  // `renamed(session)` and `deleted(session)` are called when it is done; `failed(error, words, why?)` says that it was not.
  constructor({ renamed, deleted, failed }) {
    Object.assign(this, { renamed, deleted, failed });
    this.menu = new Menu(byId("chat-menu"), (action, session) => (action === "rename" ? this.#rename(session) : this.#delete(session)));
  }

  toggle(button, session) {
    byId("schedule-link").search = `?session=${session.id}`;
    for (const format of ["markdown", "json"]) byId(`export-${format}`).href = api.exportAddress(session.id, format);
    this.menu.toggle(button, session);
  }

  async #rename(session) {
    const field = byId("rename-text");
    field.value = session.title ?? "";
    const confirmed = ask(byId("rename-dialog"));
    field.select();
    if (!(await confirmed) || !field.value.trim()) return;
    try {
      this.renamed(await api.renameSession(session.id, field.value.trim()));
    } catch (error) {
      this.failed(error, "The chat could not be renamed.");
    }
  }

  async #delete(session) {
    setText(byId("delete-name"), titleOf(session));
    if (!(await ask(byId("delete-dialog")))) return;
    try {
      await api.deleteSession(session.id);
      this.deleted(session);
    } catch (error) {
      const why = error.status === 409 ? "An answer is being written in it; stop that first." : error.message;
      this.failed(error, "The chat could not be deleted.", why);
    }
  }
}
