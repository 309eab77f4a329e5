import assert from "node:assert/strict";
import { test } from "node:test";
import { indexFacts, size } from "../src/lib/index-facts.js";

const EXACT = {
  kind: "exact", contents: 1200, vectors: 1500, memory_bytes: 3_600_000, disk_bytes: 0, segments: 0, bits: 16, problem: null, recall: [],
  building: { state: "idle", done: 0, total: 0, rate: 0, seconds_left: null },
};

test("an exact index says what it holds, and that nothing was measured yet", () => {
  assert.deepEqual(indexFacts(EXACT), [
    ["Kind", "exact: every picture is compared"],
    ["Holds", "1,200 pictures, 1,500 vectors"],
    ["Memory", "4 MB"],
    ["Finds", "not measured yet"],
  ]);
});

test("a compact index says how it is made and how much it finds", () => {
  const recall = [{ queries: "text", sampled: 100, at_10: 0.9871, at_100: 0.97 }, { queries: "picture", sampled: 1, at_10: 1, at_100: 1 }];
  const facts = new Map(indexFacts({ ...EXACT, kind: "compact", bits: 2, segments: 1, disk_bytes: 2.6e9, recall, problem: "the disk is full" }));
  assert.equal(facts.get("Kind"), "compact: 2 bits a number in memory, 1 part");
  assert.equal(facts.get("Disk"), "2.6 GB");
  assert.equal(facts.get("Texts find"), "98.7 % of the best 10, 97.0 % of the best 100 (100 queries)");
  assert.equal(facts.get("Pictures find"), "100 % of the best 10, 100 % of the best 100 (1 query)");
  assert.equal(facts.get("Problem"), "the disk is full");
});

test("an index that is being built says how far it is", () => {
  const building = { state: "building", done: 3000, total: 10_000, rate: 350, seconds_left: 20 };
  assert.equal(new Map(indexFacts({ ...EXACT, building })).get("Building"), "3,000 of 10,000 pictures, about 20 seconds left");
  const begun = { ...building, rate: 0, seconds_left: null };
  assert.equal(new Map(indexFacts({ ...EXACT, building: begun })).get("Building"), "3,000 of 10,000 pictures");
  assert.ok(!new Map(indexFacts(EXACT)).has("Building"));
});

test("Milvus keeps its memory to itself", () => {
  assert.ok(!new Map(indexFacts({ ...EXACT, kind: "milvus", memory_bytes: null })).has("Memory"));
});

test("sizes are told as people tell them", () => {
  assert.deepEqual([size(800), size(2_500_000), size(12_345_678_901)], ["1 kB", "3 MB", "12.3 GB"]);
});
