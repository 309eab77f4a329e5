/**
 * The query as it stands in the page's address:
 *
 *   ?q=cat&q=dog&w=-0.5&like=trip/beach.jpg&me=0.5&sort=me#e=VECTOR&w=0.7
 *
 * `q` is words, `like` a picture of the library, `e` a vector; `w` is the weight of the term before
 * it, 1 when absent. `me` is the weight of the person's taste, and `sort=me` sorts by it. Vectors are written into the fragment, which browsers do not send, so that an
 * uploaded image stays out of server logs. Old links have `?e=` in the query part; that is read too.
 */
import { inOrder, makeTerm, sorted, splitTaste, tasteTerm, tidyWeight } from "./terms.js";
import { tidyVector } from "./vector.js";

const KINDS = /** @type {const} */ ({ q: "text", like: "file", e: "vector" });
const UNREADABLE = "This link holds an image vector that cannot be read. It may have been cut short.";

/**
 * @param {string} search the address's query part, with or without "?"
 * @param {string} fragment with or without "#"
 * @returns {{terms: import("./terms.js").Term[], page: string, problem: string | null}} `page` is
 *   the view that the link names
 */
export function readUrl(search, fragment) {
  /** @type {import("./terms.js").Term[]} */
  const terms = [];
  let page = "search";
  let taste = 0;
  let sorts = false;
  let problem = null;
  for (const part of [search, fragment.replace(/^#/, "")]) {
    let last = null;
    for (const [name, value] of new URLSearchParams(part)) {
      if (name === "page") page = value;
      else if (name === "me") taste = Number.isFinite(Number(value)) ? tidyWeight(value) : 0;
      else if (name === "sort") sorts = value === "me";
      else if (name === "w" && last) last.weight = tidyWeight(value);
      else if (Object.hasOwn(KINDS, name) && value.trim()) {
        const kind = KINDS[/** @type {keyof typeof KINDS} */ (name)];
        const tidy = kind === "vector" ? tidyVector(value) : value;
        last = tidy === null ? null : makeTerm(kind, tidy);
        if (last) terms.push(last);
        else problem = UNREADABLE;
      } else if (name !== "w") last = null;
    }
  }
  return { terms: inOrder([...terms, ...tasteTerm(taste, sorts)]), page, problem };
}

/**
 * @param {import("./terms.js").Term[]} terms
 * @returns {string} query part and fragment; "" for the empty query
 */
export function writeUrl(terms) {
  const search = new URLSearchParams();
  const fragment = new URLSearchParams();
  for (const { kind, value, weight } of splitTaste(terms).rest) {
    if (value === "") continue;
    const part = kind === "vector" ? fragment : search;
    part.append(kind === "text" ? "q" : kind === "file" ? "like" : "e", value);
    if (weight !== 1) part.append("w", String(weight));
  }
  const { weight } = splitTaste(terms);
  if (terms.some(({ kind }) => kind === "me") && weight !== 0) search.append("me", String(weight));
  if (sorted(terms)) search.append("sort", "me");
  // A slash may stand in both parts as it is, and paths read better so.
  const text = (/** @type {URLSearchParams} */ part) => part.toString().replaceAll("%2F", "/");
  return (search.size ? "?" + text(search) : "") + (fragment.size ? "#" + text(fragment) : "");
}
