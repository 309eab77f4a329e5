/**
 * Small versions of a picture, as the server says which there are. The rule of their names is also
 * in memesearch/thumbs/formats.py; tests/thumbnail_names.json tests both.
 */
import { pictureUrl } from "./picture-url.js";

/** Widths and heights that these formats fit into; others are not used for a `srcset`. */
const BOXES = { "webp-400": [400, 4000], "jpeg-800": [800, 65000] };
/** What to show of a picture whose own format browsers do not know, the best first. */
const SUBSTITUTES = ["avif-hq", "jpeg-fullscale", "avif-lq", "jpeg-800", "jpeg-256k", "webp-400"];
const SHOWN_BY_BROWSERS = /\.(jpe?g|jpe|jfif|mpo|png|apng|gif|webp|avif|bmp|ico)$/i;

/**
 * @param {string} base address of the folder of thumbnails, with a slash at its end
 * @param {string} id what the server calls the picture's thumbnails
 * @param {string} format
 * @param {string} extension
 */
export const thumbnailUrl = (base, id, format, extension) => `${base}${id}${format}.${extension}`;

/**
 * @param {number} bits bit i says that format i of `formats` is there
 * @param {string[]} formats
 * @returns {string[]}
 */
export const formatsIn = (bits, formats) => formats.filter((_, i) => Math.floor(bits / 2 ** i) % 2 === 1);

/**
 * Adds to each result of a page the addresses of its thumbnails by format.
 * @param {import("./results.js").Page} page
 * @param {string} base
 * @returns {import("./results.js").Page}
 */
export function withThumbnails(page, base) {
  const { formats = [], extensions = {} } = page;
  for (const result of page.results) {
    const there = formatsIn(result.formats ?? 0, formats).filter((format) => format in extensions);
    result.small = Object.fromEntries(there.map((format) => [format, thumbnailUrl(base, result.thumbnail, format, extensions[format])]));
  }
  return page;
}

/**
 * @param {import("./results.js").Result} result
 * @returns {string} for an image of a grid; empty without thumbnails
 */
export function sourceSet(result) {
  const { width, height, small = {} } = result;
  if (!width || !height) return "";
  const parts = Object.entries(BOXES).flatMap(([format, [across, down]]) => {
    if (!(format in small)) return [];
    return `${small[format]} ${Math.max(1, Math.round(width * Math.min(1, across / width, down / height)))}w`;
  });
  return parts.join(", ");
}

/**
 * What a full view shows: the picture itself if browsers can.
 * @param {import("./results.js").Result} result
 * @param {string} base address of the folder of pictures
 * @returns {string}
 */
export function largeUrl(result, base) {
  const own = pictureUrl(base, result.file);
  if (SHOWN_BY_BROWSERS.test(result.file)) return own;
  const substitute = SUBSTITUTES.find((format) => result.small && format in result.small);
  return substitute && result.small ? result.small[substitute] : own;
}
