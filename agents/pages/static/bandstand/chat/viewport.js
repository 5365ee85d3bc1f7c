// The part of the conversation that is on the screen: it stays at the end while somebody is there, and stays where it is
// while they are not.

const NEAR_THE_END_PX = 80;
const NEAR_THE_BEGINNING_PX = 1200;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export class Viewport {
  // `onTop()` is called when the beginning of what is loaded comes near.
  constructor({ scroller, content, jump, onTop }) {
    this.scroller = scroller;
    this.jump = jump;
    this.onTop = onTop;
    this.following = true;
    this.height = scroller.scrollHeight;
    // What somebody opens grows below where they look.
    content.addEventListener("click", ({ target }) => target.closest("summary, .tool button") && (this.following = false), true);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    jump.addEventListener("click", () => this.toEnd(STILL.matches ? "instant" : "smooth"));
    // Renderings arrive later than words, and keyboards of phones come and go.
    const watch = new ResizeObserver(() => this.#resized());
    watch.observe(content);
    watch.observe(scroller);
  }

  get atEnd() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR_THE_END_PX;
  }

  toEnd(behavior = "instant") {
    this.following = true;
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior });
    this.jump.hidden = true;
  }

  // Run `change`, and keep `node` at the place on the screen where it was, or `after()` where `node` is gone.
  keep(node, change, after = () => node) {
    const before = node?.getBoundingClientRect().top;
    change();
    const now = after();
    if (before === undefined || !now) return;
    this.following = false;
    this.scroller.scrollTop += now.getBoundingClientRect().top - before;
  }

  #scrolled() {
    const { scrollTop } = this.scroller;
    // What grows below does not move the top; only somebody who scrolls up stops following.
    if (this.atEnd) this.following = true;
    else if (scrollTop < this.lastTop) this.following = false;
    this.lastTop = scrollTop;
    this.jump.hidden = this.atEnd;
    if (scrollTop < NEAR_THE_BEGINNING_PX) this.onTop();
  }

  #resized() {
    if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
    this.jump.hidden = this.atEnd;
  }
}
