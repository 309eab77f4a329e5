import assert from "node:assert/strict";
import { test } from "node:test";
import { describeTerms, inOrder, joinTerms, makeTerm, requestTerms, sorted, splitTaste, splitTerms, tasteTerm, tidyWeight } from "../src/lib/terms.js";

test("weights are numbers within ten, with two decimals", () => {
  assert.equal(tidyWeight("-0.5"), -0.5);
  assert.equal(tidyWeight(0.123456), 0.12);
  assert.equal(tidyWeight(99), 10);
  assert.equal(tidyWeight(-99), -10);
  assert.ok(Object.is(tidyWeight(-0.001), 0));
});

test("what is not a number weighs one", () => {
  for (const weight of ["", "heavy", NaN, Infinity, undefined, null]) assert.equal(tidyWeight(weight), 1, String(weight));
});

test("the box is the first term, and splitting undoes joining", () => {
  const chips = [makeTerm("text", "dog", -0.5), makeTerm("file", "a/b.jpg")];
  const terms = joinTerms("  cat ", chips);
  assert.deepEqual(terms[0], makeTerm("text", "cat"));
  assert.deepEqual(splitTerms(terms), { text: "cat", chips });
});

test("an empty box is no term", () => {
  assert.deepEqual(joinTerms("   ", []), []);
  assert.deepEqual(splitTerms([]), { text: "", chips: [] });
});

test("words with a weight of their own stay a chip", () => {
  const terms = [makeTerm("text", "dog", 0.5)];
  assert.deepEqual(splitTerms(terms), { text: "", chips: terms });
});

test("vectors come last, in the order they had", () => {
  const [a, b, c] = [makeTerm("vector", "AAA"), makeTerm("text", "x", 2), makeTerm("vector", "BBB")];
  assert.deepEqual(inOrder([a, b, c]), [b, a, c]);
});

test("the request names each kind as the server does and leaves out what weighs nothing", () => {
  const terms = [makeTerm("text", "cat"), makeTerm("file", "a.jpg", -1), makeTerm("vector", "AAA", 0.5), makeTerm("text", "dog", 0), makeTerm("vector", "")];
  assert.deepEqual(requestTerms(terms), [
    { text: "cat", weight: 1 },
    { file: "a.jpg", weight: -1 },
    { embedding: "AAA", weight: 0.5 },
  ]);
});

test("a query can be read aloud", () => {
  assert.equal(describeTerms([makeTerm("text", "cat"), makeTerm("text", "dog", -1), makeTerm("file", "a/b.jpg")]), "cat, not dog, Like b.jpg");
});

test("the taste is a term only while it weighs something or sorts", () => {
  assert.deepEqual(tasteTerm(0, false), []);
  assert.deepEqual(tasteTerm(-0.5, false), [makeTerm("me", "Me", -0.5)]);
  assert.deepEqual(splitTaste([makeTerm("text", "cat"), ...tasteTerm(0, true)]), { rest: [makeTerm("text", "cat")], weight: 0, sorts: true });
});

test("a taste that only sorts is no direction to search in", () => {
  const terms = [makeTerm("text", "cat"), ...tasteTerm(0, true)];
  assert.ok(sorted(terms));
  assert.deepEqual(requestTerms(terms), [{ text: "cat", weight: 1 }]);
  assert.deepEqual(requestTerms(tasteTerm(-1, false)), [{ predefined_embedding: "Me", weight: -1 }]);
  assert.equal(describeTerms(terms), "cat, sorted by Me");
  assert.equal(describeTerms(tasteTerm(0, true)), "pictures sorted by Me");
  assert.equal(describeTerms(tasteTerm(-1, false)), "not Me");
});
