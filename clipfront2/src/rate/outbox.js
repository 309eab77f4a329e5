/**
 * What was said and is not yet known to be stored, in order. It survives a reload of the tab: the server stores each
 * token once, so sending something again does no harm, and not sending it would lose an answer.
 */
const KEY = `unsent:${typeof location === "undefined" ? "" : location.pathname}`;

export class Outbox {
  /** @type {import("./api.js").Deed[]} */
  #deeds = [];
  #storage;

  /** @param {Pick<Storage, "getItem" | "setItem"> | null} storage */
  constructor(storage) {
    this.#storage = storage;
    try {
      const kept = JSON.parse(storage?.getItem(KEY) ?? "[]");
      if (Array.isArray(kept)) this.#deeds = kept.filter((deed) => ["answer", "skip", "undo"].includes(deed?.what));
    } catch {
      // Storage is switched off, or holds something else: there is nothing to send.
    }
  }

  get length() {
    return this.#deeds.length;
  }

  get first() {
    return this.#deeds[0];
  }

  /** @param {import("./api.js").Deed} deed */
  add(deed) {
    this.#deeds.push(deed);
    this.keep();
  }

  /** The first one is done with. */
  drop() {
    this.#deeds.shift();
    this.keep();
  }

  keep() {
    try {
      this.#storage?.setItem(KEY, JSON.stringify(this.#deeds));
    } catch {
      // No room or no storage: what is unsent lives as long as the page.
    }
  }
}
