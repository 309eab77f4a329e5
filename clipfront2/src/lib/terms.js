/**
 * A query is a list of terms; its vector is the sum of weight × vector over them.
 *
 * @typedef {"text" | "file" | "vector" | "me"} Kind
 * @typedef {object} Term
 * @property {Kind} kind
 * @property {string} value words, a picture's path, a vector in base64url ("" while it is computed), or ME
 * @property {number} weight
 * @property {string} [key] tells terms apart on the page
 * @property {string} [preview] address of a small picture of an uploaded image
 * @property {boolean} [pending] its vector is still being computed
 * @property {boolean} [sorts] of the person's taste: the results are sorted by it
 */
import { fileName } from "./format.js";

export const HEAVIEST = 10;
/** What the server calls the direction of the person's taste. */
export const ME = "Me";

/**
 * @param {Kind} kind
 * @param {string} value
 * @param {number} [weight]
 * @returns {Term}
 */
export function makeTerm(kind, value, weight = 1) {
  return { kind, value, weight: tidyWeight(weight) };
}

/**
 * The person's taste in a query: how much it weighs, which may be nothing, and whether it sorts what is found.
 * @param {number} weight
 * @param {boolean} sorts
 * @returns {Term[]} none when it does neither
 */
export function tasteTerm(weight, sorts) {
  if (!weight && !sorts) return [];
  return [sorts ? { ...makeTerm("me", ME, weight), sorts } : makeTerm("me", ME, weight)];
}

/**
 * The reverse of tasteTerm, for a query that was read from an address.
 * @param {Term[]} terms
 * @returns {{rest: Term[], weight: number, sorts: boolean}}
 */
export function splitTaste(terms) {
  const taste = terms.filter((term) => term.kind === "me");
  const weight = tidyWeight(taste.reduce((sum, term) => sum + term.weight, 0));
  return { rest: terms.filter((term) => term.kind !== "me"), weight, sorts: sorted(terms) };
}

/**
 * Whether the results are sorted by taste.
 * @param {Term[]} terms
 */
export function sorted(terms) {
  return terms.some((term) => term.sorts === true);
}

/**
 * @param {unknown} weight
 * @returns {number} within ±10, two decimals; 1 when it is not a number
 */
export function tidyWeight(weight) {
  const number = typeof weight === "string" && weight.trim() === "" ? NaN : Number(weight ?? NaN);
  if (!Number.isFinite(number)) return 1;
  return Math.round(Math.min(HEAVIEST, Math.max(-HEAVIEST, number)) * 100) / 100 || 0;
}

/**
 * The words in the search box are the first term; the chips are the rest.
 * @param {string} text
 * @param {Term[]} chips
 * @returns {Term[]}
 */
export function joinTerms(text, chips) {
  const words = text.trim();
  return words ? [makeTerm("text", words), ...chips] : [...chips];
}

/**
 * The reverse of joinTerms, for a query that was read from an address.
 * @param {Term[]} terms
 * @returns {{text: string, chips: Term[]}}
 */
export function splitTerms(terms) {
  const place = terms.findIndex((term) => term.kind === "text" && term.weight === 1);
  if (place < 0) return { text: "", chips: terms };
  return { text: terms[place].value, chips: terms.filter((_, index) => index !== place) };
}

/**
 * Vectors last, since an address holds them in its fragment: so a query looks the same after a reload.
 * @param {Term[]} terms
 * @returns {Term[]}
 */
export function inOrder(terms) {
  return [...terms.filter((term) => term.kind !== "vector"), ...terms.filter((term) => term.kind === "vector")];
}

/**
 * What the server is sent. A term that weighs nothing is left out.
 * @param {Term[]} terms
 * @returns {object[]}
 */
export function requestTerms(terms) {
  const names = { text: "text", file: "file", vector: "embedding", me: "predefined_embedding" };
  return terms
    .filter((term) => term.weight !== 0 && term.value !== "")
    .map((term) => ({ [names[term.kind]]: term.value, weight: term.weight }));
}

/**
 * @param {Term} term
 * @returns {string}
 */
export function termLabel(term) {
  if (term.kind === "vector") return "Your image";
  return term.kind === "file" ? `Like ${fileName(term.value)}` : term.value;
}

/**
 * The query in words, for the title and for screen readers.
 * @param {Term[]} terms
 * @returns {string}
 */
export function describeTerms(terms) {
  const named = terms.filter((term) => term.kind !== "me" || term.weight !== 0);
  const words = named.map((term) => (term.weight < 0 ? "not " : "") + termLabel(term)).join(", ");
  if (!sorted(terms)) return words;
  return words ? `${words}, sorted by ${ME}` : `pictures sorted by ${ME}`;
}
