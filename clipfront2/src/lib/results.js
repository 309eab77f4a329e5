/**
 * Answers of the server, put together page by page.
 *
 * @typedef {object} Result
 * @property {string} file path relative to the library's folder
 * @property {number | null} width
 * @property {number | null} height
 * @property {string | null} colour
 * @property {number} score
 * @property {string[]} copies
 * @property {number | null} vector_rank
 * @property {number | null} text_rank
 * @property {string | null} text
 * @property {number | null} [keep] how probably the person keeps it, where results are sorted by that
 * @property {string} thumbnail what the addresses of its thumbnails begin with
 * @property {number} formats bit i: thumbnail format i of the page's `formats` is there
 * @property {Record<string, string>} [small] addresses of its thumbnails, by format
 *
 * @typedef {object} Page
 * @property {Result[]} results
 * @property {number} total
 * @property {number} seconds
 * @property {string[]} notices
 * @property {string[]} [formats]
 * @property {Record<string, string>} [extensions]
 *
 * @typedef {Page & {received: number}} Answer `received` counts what came, `results` what is shown
 */
import { count } from "./format.js";

/** More tiles than this, and browsers run into the greatest height that a page can have. */
export const MOST_RESULTS = 20000;
export const FIRST_PAGE = 100;
export const LARGEST_PAGE = 500;

/** @type {Answer} */
export const NO_ANSWER = { results: [], total: 0, received: 0, seconds: 0, notices: [] };

/**
 * Whether only words in pictures and names were searched for this query, which a notice of the answer says: what is found by
 * its content has a rank for that, and such a search finds something wherever there is something.
 * @param {import("./terms.js").Term[]} terms
 * @param {Answer} answer
 * @returns {boolean}
 */
export function onlyWords(terms, { notices, results }) {
  const asked = terms.some((term) => term.kind === "text");
  return asked && notices.length > 0 && results.every((result) => result.vector_rank == null);
}

/**
 * Why a picture was found, in words: what it shows and the words in it or in its name are searched side by side.
 * @param {{vector_rank: number | null, text_rank: number | null}} result
 * @returns {string[]} the better place first
 */
export function foundBy({ vector_rank, text_rank }) {
  /** @type {[string, number | null][]} */
  const ways = [["its words", text_rank], ["what it shows", vector_rank]];
  return ways
    .filter(([, place]) => place != null)
    .sort(([, one], [, other]) => Number(one) - Number(other))
    .map(([way, place]) => `${way} (place ${count(Number(place))})`);
}

/**
 * Pages grow as one scrolls on, so that the ten-thousandth result is some twenty requests away.
 * @param {number} received
 * @returns {number}
 */
export function nextPageSize(received) {
  return Math.max(0, Math.min(Math.max(FIRST_PAGE, received), LARGEST_PAGE, MOST_RESULTS - received));
}

/**
 * The index may change between two pages, which then overlap: a file is shown once. An empty page
 * ends the list, whatever total was named before. Time and notices are those of the first page.
 * @param {Answer} answer
 * @param {Page} page
 * @returns {Answer}
 */
export function joinPages(answer, page) {
  const known = new Set(answer.results.map((result) => result.file));
  const fresh = page.results.filter((result) => !known.has(result.file) && known.add(result.file));
  const first = answer.received === 0;
  return {
    results: [...answer.results, ...fresh],
    received: answer.received + page.results.length,
    total: page.results.length ? page.total : answer.received,
    seconds: first ? page.seconds : answer.seconds,
    notices: first ? page.notices ?? [] : answer.notices,
  };
}
