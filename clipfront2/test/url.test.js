import assert from "node:assert/strict";
import { test } from "node:test";
import { makeTerm, tasteTerm } from "../src/lib/terms.js";
import { readUrl, writeUrl } from "../src/lib/url.js";

const VECTOR = Buffer.from(new Uint16Array(64).fill(0x3c00).buffer).toString("base64url");

/** @param {import("../src/lib/terms.js").Term[]} terms */
function thereAndBack(terms) {
  const url = new URL(writeUrl(terms), "http://host/page");
  return readUrl(url.search, url.hash).terms;
}

test("words alone are the old ?q= link", () => {
  assert.equal(writeUrl([makeTerm("text", "cat on a mat")]), "?q=cat+on+a+mat");
  assert.deepEqual(readUrl("?q=cat%20on+a+mat", "").terms, [makeTerm("text", "cat on a mat")]);
});

test("a weight stands after its term", () => {
  const terms = [makeTerm("text", "cat"), makeTerm("text", "dog", -0.5), makeTerm("file", "trip/beach.jpg", 0.7)];
  assert.equal(writeUrl(terms), "?q=cat&q=dog&w=-0.5&like=trip/beach.jpg&w=0.7");
  assert.deepEqual(thereAndBack(terms), terms);
});

test("every query survives its address", () => {
  const words = ["-0.5~dog", "w=3", "a&b", "#tag", "100%", "q?", "1+1", "line\nbreak", "猫 😀", '"<script>'];
  const terms = words.flatMap((word, place) => [makeTerm("text", word, place - 2), makeTerm("file", `${word}/${word}`, 1.25)]);
  assert.deepEqual(thereAndBack(terms), terms);
});

test("vectors are written into the fragment, out of server logs", () => {
  const address = writeUrl([makeTerm("text", "cat"), makeTerm("vector", VECTOR, 0.5)]);
  assert.equal(address, `?q=cat#e=${VECTOR}&w=0.5`);
  assert.deepEqual(thereAndBack([makeTerm("vector", VECTOR)]), [makeTerm("vector", VECTOR)]);
});

test("an old ?e= link is read", () => {
  assert.deepEqual(readUrl(`?e=${VECTOR}`, "").terms, [makeTerm("vector", VECTOR)]);
});

test("a vector that was cut short is told of, and the rest of the query holds", () => {
  const { terms, problem } = readUrl("?q=cat", "#e=AAAA&w=2");
  assert.deepEqual(terms, [makeTerm("text", "cat")]);
  assert.match(problem ?? "", /cannot be read/);
});

test("?page= is read, and names the search when absent", () => {
  assert.equal(readUrl("?page=failures&q=cat", "").page, "failures");
  assert.deepEqual(readUrl("?page=advanced&q=cat", "").terms, [makeTerm("text", "cat")]);
  assert.equal(readUrl("", "").page, "search");
});

test("empty and foreign parameters are passed over", () => {
  assert.deepEqual(readUrl("?q=&utm_source=x&w=3&like=", "#section").terms, []);
  assert.deepEqual(readUrl("?q=cat&utm=1&w=3", "").terms, [makeTerm("text", "cat")]);
  assert.equal(readUrl("?q=cat&w=heavy", "").terms[0].weight, 1);
});

test("names that every object has are no terms", () => {
  assert.deepEqual(readUrl("?constructor=x&toString=y&__proto__=z", "").terms, []);
});

test("the empty query has an empty address", () => {
  assert.equal(writeUrl([]), "");
});

test("the taste's weight and the order by it stand in the address", () => {
  assert.equal(writeUrl([makeTerm("text", "cat"), ...tasteTerm(-0.5, true)]), "?q=cat&me=-0.5&sort=me");
  for (const taste of [tasteTerm(0.7, false), tasteTerm(0, true), tasteTerm(-2, true)]) {
    const terms = [makeTerm("text", "cat"), ...taste, makeTerm("vector", VECTOR, 0.5)];
    assert.deepEqual(thereAndBack(terms), terms);
  }
});

test("a taste that cannot be read weighs nothing", () => {
  assert.deepEqual(readUrl("?me=much&sort=size", "").terms, []);
  assert.deepEqual(readUrl("?me=99", "").terms, tasteTerm(10, false));
});
