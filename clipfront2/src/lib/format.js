/** Numbers, times and names as people read them. */

const numbers = new Intl.NumberFormat("en");

/** @param {number} value */
export function count(value) {
  return numbers.format(value);
}

/**
 * @param {number} value
 * @param {string} one
 * @param {string} [many]
 */
export function counted(value, one, many = one + "s") {
  return `${count(value)} ${value === 1 ? one : many}`;
}

/**
 * @param {number} seconds
 * @returns {string} "about 3 minutes"
 */
export function roughly(seconds) {
  if (seconds < 10) return "a few seconds";
  if (seconds < 90) return `about ${Math.round(seconds / 10) * 10} seconds`;
  if (seconds < 90 * 60) return `about ${counted(Math.round(seconds / 60), "minute")}`;
  if (seconds < 36 * 3600) return `about ${counted(Math.round(seconds / 3600), "hour")}`;
  return `about ${counted(Math.round(seconds / 86400), "day")}`;
}

/**
 * @param {number} seconds
 * @returns {string} "0.03 s"
 */
export function exactly(seconds) {
  return `${seconds < 10 ? Math.max(seconds, 0.01).toFixed(2) : Math.round(seconds)} s`;
}

/**
 * @param {number} perSecond
 * @returns {string} "45 per second"
 */
export function pace(perSecond) {
  if (perSecond >= 1) return `${count(Math.round(perSecond))} per second`;
  return `${count(Math.max(1, Math.round(perSecond * 60)))} per minute`;
}

/** @param {string} path */
export function fileName(path) {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * @param {string} path
 * @returns {string} "" for a file at the top
 */
export function folderName(path) {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** @param {number | null | undefined} keep probability */
export function keepText(keep) {
  return typeof keep === "number" && Number.isFinite(keep) ? `${Math.round(keep * 100)} % keep` : "";
}

/**
 * What a picture is called where it cannot be seen: the words in it if there are any.
 * @param {{file: string, text?: string | null}} result
 */
export function pictureName(result) {
  const words = (result.text ?? "").replace(/\s+/g, " ").trim();
  return words ? `${fileName(result.file)}: ${words.slice(0, 120)}` : fileName(result.file);
}

/**
 * A colour comes from outside and goes into a style, so only #rrggbb passes.
 * @param {unknown} colour
 * @returns {string | null}
 */
export function safeColour(colour) {
  return typeof colour === "string" && /^#[0-9a-f]{6}$/i.test(colour) ? colour : null;
}

/** @param {string} message of the server, which has no capital and no full stop */
export function asSentence(message) {
  return `${message.slice(0, 1).toUpperCase()}${message.slice(1)}${/[.!?]$/.test(message) ? "" : "."}`;
}
