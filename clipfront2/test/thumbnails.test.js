import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { formatsIn, largeUrl, sourceSet, thumbnailUrl, withThumbnails } from "../src/lib/thumbnails.js";

const CASES = JSON.parse(readFileSync(new URL("../../tests/thumbnail_names.json", import.meta.url), "utf8"));

for (const { id, format, extension, file } of CASES.names) {
  test(`a thumbnail's address is the folder's and ${file}`, () => assert.equal(thumbnailUrl("/thumbs/", id, format, extension), `/thumbs/${file}`));
}

for (const { bits, formats, present } of CASES.bits) {
  test(`bits ${bits} of ${formats.length} formats are ${present.join(" and ") || "none"}`, () => assert.deepEqual(formatsIn(bits, formats), present));
}

const EXTENSIONS = { "webp-400": "webp", "jpeg-800": "jpg", "avif-hq": "avif" };
const FORMATS = Object.keys(EXTENSIONS);

function result(more) {
  const one = { file: "a b.jpg", width: 1600, height: 900, thumbnail: "ab/cd.", formats: 3, ...more };
  return withThumbnails({ results: [one], formats: FORMATS, extensions: EXTENSIONS }, "/t/").results[0];
}

test("a grid may choose among the sizes that are there, by their real widths", () => {
  assert.equal(sourceSet(result({})), "/t/ab/cd.webp-400.webp 400w, /t/ab/cd.jpeg-800.jpg 800w");
  assert.equal(sourceSet(result({ formats: 1, width: 120, height: 90 })), "/t/ab/cd.webp-400.webp 120w");
  assert.equal(sourceSet(result({ formats: 1, width: 400, height: 8000 })), "/t/ab/cd.webp-400.webp 200w");
});

test("without thumbnails, of an older server or of unknown formats there is no choice", () => {
  assert.equal(sourceSet(result({ formats: 0 })), "");
  assert.equal(sourceSet(withThumbnails({ results: [{ file: "a.jpg", width: 1, height: 1 }] }, "/t/").results[0]), "");
  const unknown = { results: [{ file: "a.jpg", width: 9, height: 9, thumbnail: "x", formats: 1 }], formats: ["jxl-9"], extensions: {} };
  assert.equal(sourceSet(withThumbnails(unknown, "/t/").results[0]), "");
});

test("the full view shows the picture itself, or the best that browsers know", () => {
  assert.equal(largeUrl(result({}), "/p/"), "/p/a%20b.jpg");
  assert.equal(largeUrl(result({ file: "x.HEIC", formats: 7 }), "/p/"), "/t/ab/cd.avif-hq.avif");
  assert.equal(largeUrl(result({ file: "x.heic", formats: 1 }), "/p/"), "/t/ab/cd.webp-400.webp");
  assert.equal(largeUrl(result({ file: "x.heic", formats: 0 }), "/p/"), "/p/x.heic");
});
