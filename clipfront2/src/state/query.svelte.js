/** The terms that are being put together: the words in the box, the chips, images on their way. */
import { inOrder, joinTerms, makeTerm, splitTaste, splitTerms, tasteTerm, tidyWeight } from "../lib/terms.js";
import { keepPreview, keptPreview, makePreview } from "./images.js";

const DEBOUNCE = 200;
/** Changes within this time of each other are one step of "back". */
const BURST = 1500;

/** @typedef {import("../lib/terms.js").Term} Term */

export class Query {
  text = $state("");
  /** @type {Term[]} */
  chips = $state([]);
  /** How much the person's taste weighs, and whether it sorts what is found. */
  taste = $state(0);
  sorts = $state(false);
  terms = $derived(inOrder([...joinTerms(this.text, this.chips), ...tasteTerm(this.taste, this.sorts)]));

  #embed;
  #onchange;
  #onfail;
  #changedAt = 0;
  #keys = 0;
  /** Images whose vectors are being computed, by the key of their term. @type {Map<string, Promise<void>>} */
  #embedding = new Map();

  /**
   * @param {object} parts
   * @param {(image: Blob) => Promise<{embedding: string}>} parts.embed
   * @param {(how: {step: boolean, wait: number}) => void} parts.onchange step: "back" shall undo it
   * @param {(error: Error, retry: () => void) => void} parts.onfail
   */
  constructor({ embed, onchange, onfail }) {
    this.#embed = embed;
    this.#onchange = onchange;
    this.#onfail = onfail;
  }

  /**
   * Holds these terms from now on, and tells nobody.
   * @param {Term[]} terms
   */
  take(terms) {
    const { rest, weight, sorts } = splitTaste(terms);
    const { text, chips } = splitTerms(inOrder(rest));
    this.taste = weight;
    this.sorts = sorts;
    this.#embedding.clear();
    this.text = text;
    this.chips = chips.map((term) => this.#named(term));
  }

  /** @param {Term[]} terms */
  replace(terms) {
    this.take(terms);
    this.#changed();
  }

  /** @param {string} text */
  type(text) {
    this.text = text;
    this.#changing();
  }

  /**
   * @param {string | undefined} key
   * @param {number} weight
   */
  weigh(key, weight) {
    this.#patch(key, { weight });
    this.#changing();
  }

  /** @param {number} weight */
  weighTaste(weight) {
    this.taste = tidyWeight(weight);
    this.#changing();
  }

  /** @param {boolean} on */
  sortByTaste(on) {
    this.sorts = on;
    this.#changed();
  }

  /** @param {Term} term */
  add(term) {
    this.chips = inOrder([...this.chips, this.#named(term)]);
    this.#changed();
  }

  /** Turns the words in the box into a chip, which has a weight. */
  keepText() {
    const words = this.text.trim();
    if (!words) return;
    this.text = "";
    this.add(makeTerm("text", words));
  }

  /** @param {string | undefined} key */
  remove(key) {
    this.#drop(key);
    this.#changed();
  }

  /** @param {File} image */
  addImage(image) {
    const term = { ...this.#named(makeTerm("vector", "")), pending: true };
    this.chips = [...this.chips, term];
    const work = this.#embedImage(term.key, image).catch((error) => {
      if (!this.#embedding.has(term.key)) return;
      this.#drop(term.key);
      this.#onfail(error, () => this.addImage(image));
    });
    this.#embedding.set(term.key, work.finally(() => this.#embedding.delete(term.key)));
    this.#changed();
  }

  /** Resolves when every image is a vector, or was dropped because it cannot become one. */
  async ready() {
    await Promise.all(this.#embedding.values());
  }

  /**
   * @param {string} key
   * @param {File} image
   */
  async #embedImage(key, image) {
    const drawing = makePreview(image).then((preview) => {
      this.#patch(key, { preview });
      return preview;
    });
    const [preview, { embedding }] = await Promise.all([drawing, this.#embed(image)]);
    if (preview) keepPreview(embedding, preview);
    this.#patch(key, { value: embedding, pending: false });
  }

  /** @param {string | undefined} key */
  #drop(key) {
    this.#embedding.delete(String(key));
    this.chips = this.chips.filter((term) => term.key !== key);
  }

  /**
   * @param {string | undefined} key
   * @param {Partial<Term>} change
   */
  #patch(key, change) {
    this.chips = this.chips.map((term) => (term.key === key ? { ...term, ...change } : term));
  }

  /** @param {Term} term */
  #named(term) {
    const preview = term.preview ?? (term.value && term.kind === "vector" ? keptPreview(term.value) : undefined);
    return { ...term, preview, key: `term-${this.#keys++}` };
  }

  /** One change that stands by itself. */
  #changed() {
    this.#changedAt = 0;
    this.#onchange({ step: true, wait: 0 });
  }

  /** One of many small changes, as while typing or dragging. */
  #changing() {
    const now = Date.now();
    this.#onchange({ step: now - this.#changedAt > BURST, wait: DEBOUNCE });
    this.#changedAt = now;
  }
}
