/** Runs the query and holds its answer. */
import { tick } from "svelte";
import { counted } from "../lib/format.js";
import { Latest } from "../lib/latest.js";
import { FIRST_PAGE, joinPages, LARGEST_PAGE, MOST_RESULTS, nextPageSize, NO_ANSWER, onlyWords } from "../lib/results.js";
import { describeTerms } from "../lib/terms.js";
import { writeUrl } from "../lib/url.js";
import { Place } from "./place.js";
import { Query } from "./query.svelte.js";

const REMEMBERED = 8;

/** @typedef {import("../lib/terms.js").Term} Term */
/** @typedef {import("../lib/results.js").Answer} Answer */

export class Search {
  query;
  /** The view that the link named. */
  page;
  answer = $state.raw(NO_ANSWER);
  /** The terms that `answer` belongs to; null before the first answer. @type {Term[] | null} */
  answered = $state.raw(null);
  /** Grows with every query whose results are shown, so that the grid knows when to begin anew. */
  round = $state(0);
  busy = $state(false);
  /** @type {{sentence: string, retry: (() => void) | null} | null} */
  error = $state.raw(null);
  /** Why no further results could be loaded. */
  moreError = $state("");
  announcement = $state("");
  complete = $derived(this.answer.received >= Math.min(this.answer.total, MOST_RESULTS));

  /** What pictures show could not be searched, and a notice says why. */
  onlyWords = $derived(onlyWords(this.answered ?? [], this.answer));

  #api;
  #place;
  #search = new Latest();
  #more = new Latest();
  #loadingMore = false;
  #step = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;
  /** Answers to go back to without asking again. @type {Map<string, Answer>} */
  #remembered = new Map();

  /** @param {ReturnType<typeof import("../lib/api.js").makeApi>} api */
  constructor(api) {
    this.#api = api;
    this.query = new Query({
      embed: api.embed,
      onchange: (how) => this.#changed(how),
      onfail: (error, retry) => this.#fail(error, retry),
    });
    this.#place = new Place(() => this.answer.received, () => this.#return());
    this.page = this.#place.read().page;
    this.#return();
  }

  /** Runs what stands there now, without waiting for a pause in typing. */
  now() {
    this.#changed({ step: true, wait: 0 });
  }

  /** Asks again for the newest pictures, for someone who is looking at them. */
  refresh() {
    if (!this.busy && this.query.terms.length === 0) this.#run({ quiet: true });
  }

  async more() {
    if (this.#loadingMore || this.complete || this.busy || this.moreError || !this.answered) return;
    this.#loadingMore = true;
    const terms = this.answered;
    const offset = this.answer.received;
    try {
      const outcome = await this.#more.run((signal) =>
        this.#api.search(terms, { k: nextPageSize(offset), offset, signal }),
      );
      if (outcome.fresh) this.#extend(outcome.value);
    } catch (error) {
      this.moreError = /** @type {Error} */ (error).message;
    }
    this.#loadingMore = false;
  }

  retryMore() {
    this.moreError = "";
    this.more();
  }

  /** @param {string} sentence */
  complain(sentence) {
    this.error = { sentence, retry: null };
  }

  /** @param {{step: boolean, wait: number}} how */
  #changed({ step, wait }) {
    // What is on its way belongs to a query that no longer stands.
    this.#stop();
    this.busy = true;
    this.#step ||= step;
    this.#timer = setTimeout(() => this.#run({}), wait);
  }

  #stop() {
    clearTimeout(this.#timer);
    this.#search.cancel();
    this.#more.cancel();
  }

  /** @param {{quiet?: boolean, place?: {y: number, received: number} | null}} how */
  async #run({ quiet = false, place = null }) {
    this.#more.cancel();
    if (!quiet) {
      this.busy = true;
      this.error = null;
    }
    try {
      const outcome = await this.#search.run(async (signal) => {
        await this.query.ready();
        signal.throwIfAborted();
        const terms = $state.snapshot(this.query.terms);
        if (!place && !quiet) this.#write(terms);
        return { terms, answer: await this.#fetch(terms, Math.max(FIRST_PAGE, place?.received ?? 0), signal) };
      });
      if (!outcome.fresh) return;
      this.busy = false;
      await this.#show(outcome.value, { quiet, y: place?.y ?? 0 });
    } catch (error) {
      this.busy = false;
      if (!quiet) this.#fail(/** @type {Error} */ (error), () => this.#run({ place }));
    }
  }

  /** @param {Term[]} terms */
  #write(terms) {
    this.#place.write(terms, this.#step && this.answered !== null);
    this.#step = false;
  }

  /**
   * @param {Term[]} terms
   * @param {number} wanted
   * @param {AbortSignal} signal
   * @returns {Promise<Answer>}
   */
  async #fetch(terms, wanted, signal) {
    let answer = NO_ANSWER;
    let page;
    do {
      const k = Math.min(LARGEST_PAGE, wanted - answer.received);
      page = await this.#api.search(terms, { k, offset: answer.received, signal });
      answer = joinPages(answer, page);
    } while (page.results.length && answer.received < Math.min(wanted, answer.total));
    return answer;
  }

  /**
   * @param {{terms: Term[], answer: Answer}} found
   * @param {{quiet?: boolean, y: number}} how
   */
  async #show({ terms, answer }, { quiet = false, y }) {
    this.moreError = "";
    this.answered = terms;
    this.answer = answer;
    this.#remember();
    if (quiet) return;
    this.round++;
    const found = answer.total ? counted(answer.total, "result") : "No results";
    this.announcement = terms.length ? `${found} for ${describeTerms(terms)}` : `${counted(answer.total, "picture")}, newest first`;
    await tick();
    scrollTo(0, y);
  }

  /** @param {import("../lib/results.js").Page} page */
  #extend(page) {
    this.answer = joinPages(this.answer, page);
    this.#remember();
  }

  #remember() {
    const key = writeUrl(this.answered ?? []);
    this.#remembered.delete(key);
    this.#remembered.set(key, this.answer);
    if (this.#remembered.size > REMEMBERED) this.#remembered.delete(this.#remembered.keys().next().value ?? "");
  }

  /** Takes up what the address says: when the page is loaded, and after back or forward. */
  #return() {
    this.#stop();
    this.#step = false;
    const { terms, problem, ...place } = this.#place.read();
    this.query.take(terms);
    // A vector in an old link's query part moves to the fragment, out of server logs.
    if (!problem) this.#place.write(this.query.terms, false);
    const known = this.#remembered.get(writeUrl(this.query.terms));
    this.error = null;
    this.busy = false;
    const shown = known ? this.#show({ terms: $state.snapshot(this.query.terms), answer: known }, place) : this.#run({ place });
    shown.then(() => problem && this.complain(problem));
  }

  /**
   * @param {Error} error
   * @param {() => void} retry
   */
  #fail(error, retry) {
    const again = () => {
      this.error = null;
      retry();
    };
    this.error = { sentence: error.message, retry: again };
  }
}
