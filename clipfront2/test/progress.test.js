import assert from "node:assert/strict";
import { test } from "node:test";
import { isAway, progressOf } from "../src/lib/progress.js";

const QUIET = { state: "idle", done: 0, total: 0, rate: 0, seconds_left: null, message: null };

function status(change) {
  return {
    files: 1, contents: 1, failures: 0, indexing: QUIET, ocr: { ...QUIET, enabled: true },
    embedding_service: { state: "ready", message: null, model: "m", model_id: "i" },
    ...change,
  };
}

test("a quiet server has nothing to say", () => {
  assert.equal(progressOf(status({})), null);
  assert.equal(progressOf(null), null);
});

test("indexing tells how far it is, how fast and how long still", () => {
  const progress = progressOf(status({ indexing: { ...QUIET, state: "indexing", done: 1234, total: 10000, rate: 45.2, seconds_left: 195 } }));
  assert.deepEqual(progress, { title: "Indexing", detail: "1,234 of 10,000", more: "45 per second · about 3 minutes left", share: 0.1234, mood: "busy" });
});

test("reading text is told of when indexing rests", () => {
  const ocr = { enabled: true, state: "reading", done: 1, total: 4, rate: 0, seconds_left: null };
  assert.deepEqual(progressOf(status({ ocr })), { title: "Reading text", detail: "1 of 4", more: "", share: 0.25, mood: "busy" });
  assert.equal(progressOf(status({ ocr: { ...ocr, enabled: false } })), null);
});

test("making thumbnails is told of when indexing rests", () => {
  const thumbnails = { state: "thumbnails", done: 3, total: 4, rate: 0, seconds_left: null };
  assert.equal(progressOf(status({ thumbnails }))?.title, "Making thumbnails");
  assert.equal(progressOf(status({ thumbnails: { ...thumbnails, state: "idle" } })), null);
});

test("building the index is told of, and what keeps it from being built", () => {
  const building = { state: "building", done: 5, total: 10, rate: 0, seconds_left: null };
  assert.equal(progressOf(status({ index: { building, problem: null } }))?.title, "Building the index");
  assert.deepEqual(progressOf(status({ index: { building: QUIET, problem: "The disk is full." } })), {
    title: "The index needs you", detail: "The disk is full.", more: "", share: null, mood: "held",
  });
  assert.equal(progressOf(status({ index: { building: QUIET, problem: null } })), null);
});

test("an embedding service that is away is more important than anything else", () => {
  const progress = progressOf(status({
    indexing: { ...QUIET, state: "indexing", done: 1, total: 2 },
    embedding_service: { state: "unreachable", message: "No answer from port 1708.", model: null, model_id: null },
  }));
  assert.equal(progress?.mood, "held");
  assert.equal(progress?.detail, "No answer from port 1708.");
  assert.deepEqual([isAway(status({})), isAway(null)], [false, false]);
});

test("work without an end yet has no share", () => {
  assert.equal(progressOf(status({ indexing: { ...QUIET, state: "scanning" } }))?.share, null);
  assert.equal(progressOf(status({ indexing: { ...QUIET, state: "indexing" } }))?.share, null);
});
