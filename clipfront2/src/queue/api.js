/** Everything this page asks of its server. */
import { makeCall } from "../lib/api.js";

/**
 * @typedef {object} Card a picture that waits
 * @property {string} token
 * @property {string} hash
 * @property {string} file
 * @property {string} name suggested, without extension
 * @property {string} extension
 * @property {string} folder
 * @property {string[]} tags
 * @property {string} title
 * @property {string} link
 * @property {string | null} notice
 *
 * @typedef {object} Standing
 * @property {number} left
 * @property {number} kept_today
 * @property {number} discarded_today
 * @property {number} unmoved
 * @property {{value: number, low: number, high: number, of: number} | null} precision
 * @property {number} target_precision
 * @property {{id: number, kept: boolean, file: string} | null} last
 * @property {string | null} problem
 *
 * @typedef {{id?: number, target?: string | null, moved?: boolean, problem?: string | null, token?: string, status: Standing}} Outcome
 */

/** @param {string} base address of the server, with a slash at its end */
export function makeApi(base) {
  const call = makeCall(base);
  const post = (/** @type {string} */ path, /** @type {unknown} */ body) =>
    call(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
  return {
    /** @returns {Promise<{pictures: Card[], status: Standing}>} */
    next: () => call("api/next?k=4"),
    /** @returns {Promise<{folders: string[], tags: string[]}>} */
    folders: () => call("api/folders"),
    /** @param {object} body @returns {Promise<Outcome>} */
    decide: (body) => post("api/decide", body),
    /** @param {{id: number} | {later: string}} body @returns {Promise<{picture: Card | null, status: Standing}>} */
    undo: (body) => post("api/undo", body),
  };
}

/** @param {Card} card */
export const pictureAddress = (card) => `picture/${card.token}`;
