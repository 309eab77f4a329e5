import { isAway, progressOf } from "../lib/progress.js";

const BUSY = 2000;
const QUIET = 15000;
const PATIENCE = 1000;

/** What the server is doing in the background, asked again and again while the page is in view. */
export class StatusWatch {
  /** @type {import("../lib/progress.js").Status | null} */
  now = $state.raw(null);
  progress = $derived(progressOf(this.now));
  /** The progress tells of an embedding service that is away. */
  away = $derived(isAway(this.now));
  /** What the page has on offer is known, or was waited for long enough: what is laid out now stays in its place. */
  settled = $state(false);
  #api;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {ReturnType<typeof import("../lib/api.js").makeApi>} api */
  constructor(api) {
    this.#api = api;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.ask();
    });
    setTimeout(() => (this.settled = true), PATIENCE);
    this.ask();
  }

  async ask() {
    clearTimeout(this.#timer);
    try {
      this.now = await this.#api.status();
    } catch {
      // A search says in words that the server is away; here the last known state stays.
    }
    this.settled = true;
    clearTimeout(this.#timer);
    if (!document.hidden) this.#timer = setTimeout(() => this.ask(), this.progress ? BUSY : QUIET);
  }
}
