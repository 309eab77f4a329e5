/** What the page asks of the rater. Addresses are relative, so that it works below any path. */
import { makeCall } from "../lib/api.js";

/**
 * @typedef {{token: string, first: string, second: string, reason: string | null}} Pair
 * @typedef {{pairs: Pair[], undo: string | null, dimensions: string[], note: string | null, undone?: boolean}} Deck
 * @typedef {{what: "answer" | "skip" | "undo", token: string | null, grade?: number, dimensions?: Record<string, number>}} Deed
 * @typedef {{value: number, low: number, high: number, of: number, curve: number[]}} Accuracy
 * @typedef {{top: {name: string, rose: number | null}[], agreement: number | null, back: number | null}} Ranking
 * @typedef {{answers: number, queue: number, skipped: number, dropped: number, lost: number, pictures: number, learnt: number, refit_seconds: number, accuracy: Accuracy | null, ranking: Ranking | null}} Status
 */

/** @param {typeof fetch} [send] */
export function makeRateApi(send) {
  const call = makeCall("", send);
  return {
    /** @returns {Promise<Deck>} */
    pairs: () => call("api/pair"),

    /** @returns {Promise<Status>} */
    status: () => call("api/status"),

    /**
     * @param {Deed} deed
     * @returns {Promise<Deck>} what comes next
     */
    tell: ({ what, ...body }) =>
      call(`api/${what}`, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
  };
}
