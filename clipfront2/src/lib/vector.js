/**
 * Vectors as they travel in addresses: base64url of little-endian float16 values. The page never
 * computes with them; it only has to recognise and tidy them.
 */

/**
 * Accepts ordinary base64 and padding as well, which old links may hold.
 * @param {string} text
 * @returns {string | null} base64url without padding, or null when it cannot be a vector
 */
export function tidyVector(text) {
  // A "+" that nobody escaped arrives as a space.
  const tidy = text.trim().replaceAll(" ", "-").replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
  if (!/^[A-Za-z0-9_-]+$/.test(tidy) || tidy.length % 4 === 1) return null;
  return byteLength(tidy) % 2 === 0 ? tidy : null;
}

/**
 * @param {string} tidy
 * @returns {number} how many values the vector has
 */
export function vectorSize(tidy) {
  return byteLength(tidy) / 2;
}

/** @param {string} tidy */
function byteLength(tidy) {
  return Math.floor((tidy.length * 3) / 4);
}
