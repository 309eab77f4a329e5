import { asSentence } from "../lib/format.js";
import { SvelteSet } from "svelte/reactivity";

const AGAIN = 3000; // milliseconds until what could not be sent is sent again
const IDLE = 10000; // between two looks at the panel's figures
const SETTLED = 350; // after an answer, until the model is likely to have learnt from it

/**
 * The pairs before the person. An answer takes effect here at once and is sent behind the scenes, one after the other, so
 * that nobody waits for the network; what could not be sent is kept and sent again.
 */
export class Desk {
  /** @type {import("./api.js").Pair[]} */
  pairs = $state.raw([]);
  /** @type {string | null} */
  undoable = $state(null);
  /** @type {string[]} */
  dimensions = $state.raw([]);
  /** Why there is no pair. @type {string | null} */
  note = $state(null);
  /** @type {{sentence: string, retry: (() => void) | null} | null} */
  error = $state.raw(null);
  /** @type {import("./api.js").Status | null} */
  status = $state.raw(null);
  announcement = $state("");
  /** Of the pair in view, so far. @type {Record<string, number>} */
  told = $state.raw({});
  loaded = false;
  now = $derived(this.pairs[0]);
  /** Pictures that are there to be seen, as token and place. @type {SvelteSet<string>} */
  #seen = new SvelteSet();
  #api;
  #outbox;
  #sending = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #again;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #look;

  /**
   * @param {ReturnType<typeof import("./api.js").makeRateApi>} api
   * @param {import("./outbox.js").Outbox} outbox
   */
  constructor(api, outbox) {
    this.#api = api;
    this.#outbox = outbox;
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.refresh();
    });
    this.refresh();
  }

  /** Both pictures can be seen: before that nothing can be said of them. */
  ready = $derived(Boolean(this.now) && [0, 1].every((place) => this.#seen.has(`${this.now.token} ${place}`)));

  /**
   * @param {string} token
   * @param {number} place
   */
  saw(token, place) {
    this.#seen.add(`${token} ${place}`);
  }

  /** @param {number} grade 2 the first is much better … -2 the second is */
  answer(grade) {
    if (!this.ready) return false;
    this.#pass({ what: "answer", token: this.now.token, grade, dimensions: this.told });
    return true;
  }

  skip() {
    if (!this.now) return;
    this.#pass({ what: "skip", token: this.now.token });
    this.announcement = "Skipped.";
  }

  undo() {
    if (!this.undoable && !this.#outbox.length) return;
    this.announce("Taken back.");
    this.#outbox.add({ what: "undo", token: null });
    this.#flush();
  }

  /** @param {string} sentence that is read out, also when it is the one before again */
  announce(sentence) {
    this.announcement = this.announcement === sentence ? `${sentence}\u00a0` : sentence;
  }

  /** Send what is unsent, and see what there is to rate now. */
  async refresh() {
    if (this.#outbox.length) return this.#flush();
    this.#watch(0);
    try {
      const deck = await this.#api.pairs();
      if (!this.#outbox.length) this.#lay(deck);
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @param {import("./api.js").Deed} deed about the pair in view, which makes place for the next */
  #pass(deed) {
    this.pairs = this.pairs.slice(1);
    this.told = {};
    this.#outbox.add(deed);
    this.#flush();
  }

  async #flush() {
    if (this.#sending) return;
    this.#sending = true;
    try {
      let deck = null;
      while (this.#outbox.length) deck = (await this.#send(this.#outbox.first)) ?? deck;
      if (deck) this.#lay(deck);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#sending = false;
    }
    this.#watch(SETTLED);
  }

  /** @param {import("./api.js").Deed} deed */
  async #send(deed) {
    // Which step an undo takes back is known when all before it has been stored; sent again, it is still that one.
    if (deed.what === "undo" && !deed.token) {
      deed.token = this.undoable;
      this.#outbox.keep();
    }
    try {
      const deck = deed.what === "undo" && !deed.token ? await this.#api.pairs() : await this.#api.tell(deed);
      // Sent again after a lost reply it finds its pair open already; else another tab was faster.
      if (deck.undone === false && !deck.pairs.some((pair) => pair.token === deed.token)) this.#overtaken();
      this.undoable = deck.undo;
      this.#outbox.drop();
      return deck;
    } catch (error) {
      const { status, message } = /** @type {import("../lib/api.js").ApiError} */ (error);
      if (status !== 400 && status !== 404) throw error;
      // It can never be stored. The next pairs are asked for anew.
      this.#outbox.drop();
      const deck = await this.#api.pairs();
      this.error = { sentence: asSentence(message), retry: null };
      return deck;
    }
  }

  #overtaken() {
    const sentence = "Nothing was taken back: something else was answered since, in another tab perhaps. Undo again takes that back.";
    this.error = { sentence, retry: null };
  }

  /** @param {import("./api.js").Deck} deck */
  #lay(deck) {
    if (deck.pairs[0]?.token !== this.now?.token) this.told = {};
    this.pairs = deck.pairs;
    this.undoable = deck.undo;
    this.dimensions = deck.dimensions;
    this.note = deck.note;
    this.loaded = true;
    if (this.error?.retry) this.error = null;
    if (deck.note) this.#retry();
  }

  /** @param {unknown} error */
  #fail(error) {
    const sentence = asSentence(error instanceof Error ? error.message : String(error));
    const kept = this.#outbox.length ? " Your answers are kept here and sent when it is back." : "";
    this.error = { sentence: sentence + kept, retry: () => this.refresh() };
    this.#retry();
  }

  #retry() {
    clearTimeout(this.#again);
    this.#again = setTimeout(() => this.refresh(), AGAIN);
  }

  /** @param {number} delay until the figures are asked for */
  #watch(delay) {
    clearTimeout(this.#look);
    this.#look = setTimeout(async () => {
      try {
        this.status = await this.#api.status();
      } catch {
        // Whatever is done next says in words that the server is away.
      }
      if (!document.hidden) this.#watch(IDLE);
    }, delay);
  }
}
