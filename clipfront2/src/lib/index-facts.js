/** What the server says of its index, in words. */
import { count, counted, roughly } from "./format.js";

/**
 * @typedef {{queries: "text" | "picture", sampled: number, at_10: number, at_100: number}} Recall
 * @typedef {object} Index
 * @property {string} kind exact, compact or milvus
 * @property {number} contents
 * @property {number} vectors
 * @property {number | null} memory_bytes
 * @property {number} disk_bytes
 * @property {number} segments
 * @property {number} bits
 * @property {string | null} problem
 * @property {import("./progress.js").Work} building
 * @property {Recall[]} recall
 */

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1e6) return `${count(Math.ceil(bytes / 1e3))} kB`;
  return bytes < 1e9 ? `${count(Math.round(bytes / 1e6))} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** @param {number} share */
const percent = (share) => `${(share * 100).toFixed(share < 1 ? 1 : 0)} %`;

/** @type {Record<string, (index: Index) => string>} */
const KINDS = {
  exact: () => "exact: every picture is compared",
  compact: (index) => `compact: ${counted(index.bits, "bit")} a number in memory, ${counted(index.segments, "part")}`,
  milvus: () => "Milvus",
};

/**
 * @param {Index} index
 * @returns {[string, string][]} pairs of a name and what it is
 */
export function indexFacts(index) {
  /** @type {[string, string][]} */
  const facts = [["Kind", KINDS[index.kind]?.(index) ?? index.kind]];
  const { state, done, total, seconds_left: left } = index.building;
  if (state === "building") {
    facts.push(["Building", `${count(done)} of ${counted(total, "picture")}${left == null ? "" : `, ${roughly(left)} left`}`]);
  }
  facts.push(["Holds", `${counted(index.contents, "picture")}, ${counted(index.vectors, "vector")}`]);
  if (index.memory_bytes != null) facts.push(["Memory", size(index.memory_bytes)]);
  if (index.disk_bytes) facts.push(["Disk", size(index.disk_bytes)]);
  for (const recall of index.recall) {
    const name = recall.queries === "text" ? "Texts find" : "Pictures find";
    const asked = counted(recall.sampled, "query", "queries");
    facts.push([name, `${percent(recall.at_10)} of the best 10, ${percent(recall.at_100)} of the best 100 (${asked})`]);
  }
  if (!index.recall.length) facts.push(["Finds", "not measured yet"]);
  if (index.problem) facts.push(["Problem", index.problem]);
  return facts;
}
