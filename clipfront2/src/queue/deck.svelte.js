import { asSentence } from "../lib/format.js";
import { pictureAddress } from "./api.js";

const ENOUGH = 3;

/**
 * @typedef {import("./api.js").Card} Card
 * @typedef {{name: string, folder: string, tags: string}} Wish how the person wants it kept
 * @typedef {"keep" | "discard" | "later"} Kind
 */

/** The pictures at hand. A decision shows the next picture at once and is sent behind it, one after the other. */
export class Deck {
  /** @type {Card[]} */
  cards = $state.raw([]);
  /** @type {import("./api.js").Standing | null} */
  standing = $state.raw(null);
  /** @type {Wish} */
  wish = $state({ name: "", folder: "", tags: "" });
  /** @type {{sentence: string, retry: (() => void) | null} | null} */
  error = $state.raw(null);
  /** What was done last, in words. */
  said = $state("");
  loaded = $state(false);
  /** Decisions on their way; while there are some, more pictures may follow. */
  sending = $state(0);
  card = $derived(this.cards[0]);
  /** What is to be known beside the picture, in the form that the search page has. */
  answer = $derived({ notices: [this.standing?.problem, this.card?.notice].filter(Boolean).map((text) => asSentence(text ?? "")) });
  #api;
  /** Sent or being sent: the server may still name them in an answer. @type {Set<string>} */
  #done = new Set();
  /** @type {{undo: {id: number} | {later: string}, wish: Wish}[]} */
  #history = [];
  #sent = Promise.resolve();

  /** @param {ReturnType<typeof import("./api.js").makeApi>} api */
  constructor(api) {
    this.#api = api;
  }

  get canUndo() {
    return this.#history.length > 0 || Boolean(this.standing?.last);
  }

  async load() {
    try {
      const { pictures, status } = await this.#api.next();
      const known = new Set(this.cards.map((card) => card.file));
      const fresh = pictures.filter((card) => !this.#done.has(card.token) && !known.has(card.file));
      this.#show([...this.cards, ...fresh]);
      this.standing = status;
      if (this.error?.retry) this.error = null;
      this.loaded = true;
    } catch (error) {
      this.#fail(error);
    }
  }

  /** @param {Card[]} cards @param {Wish} [wish] */
  #show(cards, wish) {
    const before = this.card;
    this.cards = cards;
    const [card, ...others] = cards;
    for (const other of others) new Image().src = pictureAddress(other);
    if (card && (card !== before || wish)) this.wish = wish ?? { name: card.name, folder: card.folder, tags: card.tags.join(", ") };
  }

  /** @param {unknown} error */
  #fail(error) {
    const away = /** @type {{status?: number}} */ (error).status === 0 && !this.cards.length;
    this.error = { sentence: asSentence(error instanceof Error ? error.message : String(error)), retry: away ? () => this.load() : null };
  }

  /** @param {Kind} decision */
  decide(decision) {
    const card = this.card;
    if (!card) return;
    const wish = { ...this.wish };
    this.sending += 1;
    this.error = null;
    this.#done.add(card.token);
    this.#show(this.cards.slice(1));
    this.#sent = this.#sent.then(() => this.#send(card, decision, wish)).finally(() => (this.sending -= 1));
    return this.#sent;
  }

  /** @param {Card} card @param {Kind} decision @param {Wish} wish */
  async #send(card, decision, wish) {
    const tags = wish.tags.split(",").map((tag) => tag.trim()).filter(Boolean);
    const kept = decision === "keep" ? { name: wish.name, folder: wish.folder, tags } : {};
    try {
      const { id, target, token, problem, status } = await this.#api.decide({ token: card.token, hash: card.hash, decision, ...kept });
      this.standing = status;
      this.#history.push({ undo: id === undefined ? { later: token ?? "" } : { id }, wish });
      this.said = (problem && asSentence(problem)) ?? { keep: `Kept as ${target}`, discard: "Discarded", later: "Put off" }[decision];
      if (this.cards.length < ENOUGH) await this.load();
    } catch (error) {
      this.#fail(error);
      // It was not decided: show it again as it was, or what the server has instead when it has moved on.
      this.#done.delete(card.token);
      if (/** @type {{status?: number}} */ (error).status !== 409) return this.#show([card, ...this.cards], wish);
      this.cards = [];
      await this.load();
    }
  }

  undo() {
    this.#sent = this.#sent.then(() => this.#takeBack());
    return this.#sent;
  }

  async #takeBack() {
    const last = this.#history.at(-1) ?? (this.standing?.last && { undo: { id: this.standing.last.id }, wish: undefined });
    if (!last) return;
    this.error = null;
    try {
      const { picture, status } = await this.#api.undo(last.undo);
      this.#history.pop();
      this.standing = status;
      if (picture) this.#show([picture, ...this.cards.filter((card) => card.file !== picture.file)], last.wish ?? undefined);
      this.said = "Taken back";
    } catch (error) {
      if (/** @type {{status?: number}} */ (error).status === 409) this.#history.pop();
      this.#fail(error);
    }
  }
}
