// Markdown becomes HTML on the server only. One request at a time, the newest first: it is the one that somebody sees.

import { renderMarkdown } from "./api.js";

const KEPT = 200;
const ATTEMPTS = 5;
const AGAIN_FIRST_MS = 500;

export class MarkdownRenderer {
  constructor(render = renderMarkdown) {
    this.render = render;
    this.cache = new Map();
    this.waiting = [];
    this.busy = false;
  }

  // The HTML of `text`. Rejects when the server refuses it, or cannot be reached for a while.
  html(text) {
    const html = this.cache.get(text);
    if (html !== undefined) return Promise.resolve(html);
    return new Promise((resolve, reject) => {
      this.waiting.push({ text, resolve, reject });
      this.#work();
    });
  }

  async #work() {
    if (this.busy) return;
    this.busy = true;
    for (let job; (job = this.waiting.pop()); ) {
      try {
        const html = await this.#ask(job.text);
        this.#keep(job.text, html);
        job.resolve(html);
      } catch (error) {
        job.reject(error);
      }
    }
    this.busy = false;
  }

  async #ask(text) {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.render(text);
      } catch (error) {
        if (!error.passing || attempt === ATTEMPTS) throw error;
        await new Promise((resolve) => setTimeout(resolve, error.retryAfterMs ?? AGAIN_FIRST_MS * 2 ** attempt));
      }
    }
  }

  #keep(text, html) {
    this.cache.set(text, html);
    if (this.cache.size > KEPT) this.cache.delete(this.cache.keys().next().value);
  }
}
