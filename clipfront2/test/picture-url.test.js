import assert from "node:assert/strict";
import { test } from "node:test";
import { pictureUrl } from "../src/lib/picture-url.js";

/** What a browser and then a server make of the address. */
function asServed(file) {
  const url = new URL(pictureUrl("/pictures/", file), "http://host/");
  assert.equal(url.search + url.hash, "");
  return decodeURIComponent(url.pathname.slice("/pictures/".length));
}

const HOSTILE = [
  "plain.jpg",
  "two words.jpg",
  "folder/deeper/file.jpg",
  "#1.jpg",
  "what?.jpg",
  "100%.jpg",
  "100%25.jpg",
  "%2e%2e.jpg",
  'a "quoted" name\'s.jpg',
  "line\nbreak\ttab.jpg",
  "<script>alert(1)<.jpg",
  "a&b=c+d;e,f:g@h!$*()~.jpg",
  "back\\slash.jpg",
  "ümlaut 猫 😀.jpg",
  "javascript:alert(1)",
  "...jpg",
];

for (const file of HOSTILE) {
  test(`the address of ${JSON.stringify(file)} leads back to the same file`, () => assert.equal(asServed(file), file));
}

test("slashes between folders stay slashes and the rest is encoded", () => {
  assert.equal(pictureUrl("/pictures/", "a b/c#d.jpg"), "/pictures/a%20b/c%23d.jpg");
});

test("the base may be relative or on another path", () => {
  assert.equal(pictureUrl("pictures/", "a.jpg"), "pictures/a.jpg");
  assert.equal(pictureUrl("https://host/x/", "a.jpg"), "https://host/x/a.jpg");
});

test("a byte that is not UTF-8, handed over by Python as a surrogate, becomes that byte again", () => {
  assert.equal(pictureUrl("/", "caf\udce9.jpg"), "/caf%E9.jpg");
});

test("any other lone surrogate does not throw", () => {
  assert.equal(pictureUrl("/", "\ud83d.jpg"), "/%EF%BF%BD.jpg");
});
