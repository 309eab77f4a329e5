/**
 * The page's address and its entries in the browser's history. Each entry remembers how far one
 * had scrolled and how many results were there, so that going back or reloading leads to the place
 * that was left.
 */
import { readUrl, writeUrl } from "../lib/url.js";

const SETTLE = 150;

export class Place {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** @type {() => number} */
  #received;

  /**
   * @param {() => number} received how many results are loaded now
   * @param {() => void} onreturn called after a step back or forward
   */
  constructor(received, onreturn) {
    this.#received = received;
    history.scrollRestoration = "manual";
    addEventListener("scroll", () => this.#later(), { passive: true });
    addEventListener("pagehide", () => this.#save());
    addEventListener("popstate", () => {
      clearTimeout(this.#timer);
      onreturn();
    });
  }

  read() {
    const { y = 0, received = 0 } = history.state ?? {};
    return { ...readUrl(location.search, location.hash), y, received };
  }

  /**
   * @param {import("../lib/terms.js").Term[]} terms
   * @param {boolean} step whether "back" shall lead to what was there before
   */
  write(terms, step) {
    const wanted = writeUrl(terms);
    if (wanted === location.search + location.hash) return;
    const address = location.pathname + wanted;
    if (!step) return history.replaceState({}, "", address);
    this.#save();
    history.pushState({}, "", address);
  }

  // Browsers limit how often history may be written, so scrolling has to come to rest first.
  #later() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#save(), SETTLE);
  }

  #save() {
    clearTimeout(this.#timer);
    history.replaceState({ y: scrollY, received: this.#received() }, "");
  }
}
