/** Turns the path of a picture into its address. File names may hold anything a disk allows. */

/**
 * Python hands over a byte that is not UTF-8 as a lone surrogate U+DC80..U+DCFF; it goes back to
 * being that byte. Any other lone surrogate cannot be sent at all and becomes U+FFFD, because
 * encodeURIComponent would throw on it.
 * @param {string} segment
 * @returns {string}
 */
function encodeSegment(segment) {
  let encoded = "";
  for (const character of segment) {
    const code = character.codePointAt(0) ?? 0;
    if (code >= 0xdc80 && code <= 0xdcff) encoded += "%" + (code - 0xdc00).toString(16).toUpperCase();
    else if (code >= 0xd800 && code <= 0xdfff) encoded += "%EF%BF%BD";
    else encoded += encodeURIComponent(character);
  }
  return encoded;
}

/**
 * @param {string} base address of the folder of pictures, with a slash at its end
 * @param {string} file path relative to that folder, with "/" between its parts
 * @returns {string}
 */
export function pictureUrl(base, file) {
  return base + file.split("/").map(encodeSegment).join("/");
}
