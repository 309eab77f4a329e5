import assert from "node:assert/strict";
import { test } from "node:test";
import { foundBy, joinPages, MOST_RESULTS, nextPageSize, NO_ANSWER, onlyWords } from "../src/lib/results.js";

const page = (files, total, change = {}) => ({ results: files.map((file) => ({ file })), total, seconds: 0.5, notices: [], ...change });

test("pages grow, up to a limit", () => {
  assert.deepEqual([0, 100, 200, 400, 5000].map(nextPageSize), [100, 100, 200, 400, 500]);
});

test("no page goes beyond what a document can hold", () => {
  assert.equal(nextPageSize(MOST_RESULTS - 30), 30);
  assert.equal(nextPageSize(MOST_RESULTS), 0);
});

test("a file that comes twice is shown once, and still counts as received", () => {
  const answer = joinPages(joinPages(NO_ANSWER, page(["a", "b"], 4)), page(["b", "c"], 4));
  assert.deepEqual(answer.results.map(({ file }) => file), ["a", "b", "c"]);
  assert.equal(answer.received, 4);
});

test("an empty page ends the list", () => {
  const answer = joinPages(joinPages(NO_ANSWER, page(["a"], 100)), page([], 100));
  assert.equal(answer.total, 1);
});

test("time and notices are those of the first page", () => {
  const answer = joinPages(joinPages(NO_ANSWER, page(["a"], 2, { notices: ["Words only."] })), page(["b"], 2, { seconds: 9, notices: ["Other."] }));
  assert.deepEqual([answer.seconds, answer.notices], [0.5, ["Words only."]]);
});

test("only words were searched when a notice says so and nothing was found by its content", () => {
  const words = [{ kind: "text", value: "cat", weight: 1 }];
  const answer = (ranks, notices = ["Only words."]) => ({ ...page([], 0, { notices }), received: 0, results: ranks.map((vector_rank) => ({ vector_rank })) });
  assert.equal(onlyWords(words, answer([])), true);
  assert.equal(onlyWords(words, answer([null, null])), true);
  assert.equal(onlyWords(words, answer([null, 2], ["Your taste was left out."])), false);
  assert.equal(onlyWords(words, answer([], [])), false);
  assert.equal(onlyWords([], answer([null], ["Your taste was left out."])), false);
});

test("why a picture was found is told with the better place first, and not of the newest ones", () => {
  assert.deepEqual(foundBy({ vector_rank: 1200, text_rank: 2 }), ["its words (place 2)", "what it shows (place 1,200)"]);
  assert.deepEqual(foundBy({ vector_rank: 1, text_rank: 2 }), ["what it shows (place 1)", "its words (place 2)"]);
  assert.deepEqual(foundBy({ vector_rank: null, text_rank: 1 }), ["its words (place 1)"]);
  assert.deepEqual(foundBy({ vector_rank: null, text_rank: null }), []);
});
