// The title of the page, with a mark while an answer is there that nobody has looked at.

const MARK = "● ";

export class PageTitle {
  constructor() {
    this.words = document.title;
    this.unread = false;
    document.addEventListener("visibilitychange", () => this.#mark(this.unread && document.hidden));
  }

  show(words) {
    this.words = words;
    this.#mark(this.unread);
  }

  answered() {
    this.#mark(document.hidden);
  }

  #mark(unread) {
    this.unread = unread;
    document.title = (unread ? MARK : "") + this.words;
  }
}
