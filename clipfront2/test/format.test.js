import assert from "node:assert/strict";
import { test } from "node:test";
import * as format from "../src/lib/format.js";

test("counts have separators and the right number of the noun", () => {
  assert.equal(format.counted(12345, "picture"), "12,345 pictures");
  assert.equal(format.counted(1, "copy", "copies"), "1 copy");
  assert.equal(format.counted(2, "copy", "copies"), "2 copies");
});

test("times to come are rough", () => {
  const expected = { 3: "a few seconds", 44: "about 40 seconds", 195: "about 3 minutes", 100: "about 2 minutes", 7200: "about 2 hours", 200000: "about 2 days" };
  for (const [seconds, words] of Object.entries(expected)) assert.equal(format.roughly(Number(seconds)), words);
});

test("times that passed are exact", () => {
  assert.equal(format.exactly(0.0312), "0.03 s");
  assert.equal(format.exactly(0), "0.01 s");
  assert.equal(format.exactly(12.7), "13 s");
});

test("slow work is told by the minute", () => {
  assert.equal(format.pace(45.2), "45 per second");
  assert.equal(format.pace(0.2), "12 per minute");
});

test("a path has a folder and a name", () => {
  assert.equal(format.fileName("a/b/c.jpg"), "c.jpg");
  assert.equal(format.folderName("a/b/c.jpg"), "a/b");
  assert.equal(format.fileName("c.jpg"), "c.jpg");
  assert.equal(format.folderName("c.jpg"), "");
});

test("a picture is called by its name and the words in it", () => {
  assert.equal(format.pictureName({ file: "a/b.jpg", text: "ONE\n DOES not" }), "b.jpg: ONE DOES not");
  assert.equal(format.pictureName({ file: "a/b.jpg", text: null }), "b.jpg");
});

test("only a plain colour gets into a style", () => {
  assert.equal(format.safeColour("#aAbB01"), "#aAbB01");
  for (const colour of [null, undefined, "red", "#abc", "#aabbcc;background:url(x)", 5]) assert.equal(format.safeColour(colour), null);
});

test("what a server says becomes a sentence", () => {
  assert.equal(format.asSentence("the disk is full"), "The disk is full.");
  assert.equal(format.asSentence("Try again!"), "Try again!");
  assert.equal(format.asSentence(""), ".");
});
