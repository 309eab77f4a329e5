/** The server's work in the background, in words. */
import { count, pace, roughly } from "./format.js";

/**
 * @typedef {{state: string, done: number, total: number, rate: number, seconds_left: number | null, message?: string | null}} Work
 * @typedef {object} Status what GET api/status answers
 * @property {number} files
 * @property {number} contents pictures that differ
 * @property {number} failures
 * @property {Work} indexing
 * @property {Work & {enabled: boolean}} ocr
 * @property {Work | null} [thumbnails] null when the server makes none
 * @property {import("./index-facts.js").Index | null} [index] null before anything is indexed
 * @property {{name: string, model: string | null, problem: string | null} | null} [taste] null where none is configured
 * @property {string[]} [views] which of the rater's views are configured: "rate", "queue"
 * @property {{state: string, message: string | null, model: string | null, model_id: string | null}} embedding_service
 *
 * @typedef {object} Progress
 * @property {string} title
 * @property {string} detail
 * @property {string} more pace and time left
 * @property {number | null} share between 0 and 1; null while the end is not known
 * @property {"busy" | "held"} mood held: it cannot go on by itself
 */

/**
 * @param {string} title
 * @param {Work} work
 * @returns {Progress}
 */
function counting(title, work) {
  const more = [];
  if (work.rate > 0) more.push(pace(work.rate));
  if (work.seconds_left != null) more.push(`${roughly(work.seconds_left)} left`);
  const share = work.total > 0 ? Math.min(1, work.done / work.total) : null;
  return { title, detail: `${count(work.done)} of ${count(work.total)}`, more: more.join(" · "), share, mood: "busy" };
}

/**
 * @param {string} title
 * @param {string} detail
 * @param {"busy" | "held"} mood
 * @returns {Progress}
 */
const saying = (title, detail, mood) => ({ title, detail, more: "", share: null, mood });

/**
 * Whether the embedding service is away.
 * @param {Status | null} status
 */
export const isAway = (status) => status?.embedding_service?.state === "unreachable";

/**
 * @param {Status | null} status
 * @returns {Progress | null} the one thing worth saying now, null when all is quiet
 */
export function progressOf(status) {
  if (!status) return null;
  const { indexing, index, ocr, thumbnails, embedding_service: service } = status;
  if (isAway(status)) {
    return saying("Pictures cannot be understood right now", service.message ?? "The embedding service does not answer.", "held");
  }
  if (service?.state === "switching") return saying("Changing the model", service.message ?? "Searching goes on meanwhile.", "busy");
  if (index?.building?.state === "building") return counting("Building the index", index.building);
  if (indexing?.state === "indexing") return counting("Indexing", indexing);
  if (indexing?.state === "scanning") return saying("Looking for new pictures", indexing.message ?? "", "busy");
  if (indexing?.state === "waiting") return saying("Indexing waits", indexing.message ?? "for the embedding service.", "held");
  if (index?.problem) return saying("The index needs you", index.problem, "held");
  if (thumbnails?.state === "thumbnails") return counting("Making thumbnails", thumbnails);
  if (ocr?.enabled && ocr.state === "reading") return counting("Reading text", ocr);
  return null;
}
