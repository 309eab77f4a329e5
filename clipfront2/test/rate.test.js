import assert from "node:assert/strict";
import { test } from "node:test";
import { makeRateApi } from "../src/rate/api.js";
import { change, GRADES, linePoints, movement, spoken } from "../src/rate/grades.js";
import { findKey, KEYS } from "../src/rate/keys.js";
import { Outbox } from "../src/rate/outbox.js";

const press = (code, key, change = {}) => ({ code, key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...change });
const grade = (event, singleKeys = true) => findKey(event, singleKeys)?.grade ?? null;

test("the keys 1 to 5 are the answers in the order of the buttons", () => {
  assert.deepEqual([1, 2, 3, 4, 5].map((digit) => grade(press(`Digit${digit}`, String(digit)))), GRADES.map((one) => one.grade));
  assert.deepEqual(GRADES.map((one) => one.key), ["1", "2", "3", "4", "5"]);
});

test("arrows point to what is better, and Shift makes it much better", () => {
  assert.equal(grade(press("ArrowLeft", "ArrowLeft")), 1);
  assert.equal(grade(press("ArrowRight", "ArrowRight")), -1);
  assert.equal(grade(press("ArrowLeft", "ArrowLeft", { shiftKey: true })), 2);
  assert.equal(grade(press("ArrowRight", "ArrowRight", { shiftKey: true })), -2);
});

test("a key held down, the browser's combinations and keys switched off answer nothing", () => {
  for (const change of [{ repeat: true }, { ctrlKey: true }, { metaKey: true }, { altKey: true }]) {
    assert.equal(findKey(press("Digit1", "1", change), true), null);
  }
  assert.equal(findKey(press("Digit1", "1"), false), null);
  assert.equal(grade(press("ArrowLeft", "ArrowLeft"), false), 1);
});

test("every key that is shown says what it does", () => {
  for (const key of KEYS) assert.equal(Boolean(key.shown), Boolean(key.does));
});

test("what is unsent survives a reload, in its order", () => {
  const kept = new Map();
  const storage = { getItem: (key) => kept.get(key) ?? null, setItem: (key, value) => void kept.set(key, value) };
  const outbox = new Outbox(storage);
  outbox.add({ what: "answer", token: "a", grade: 2 });
  outbox.add({ what: "skip", token: "b" });
  assert.deepEqual(new Outbox(storage).first, { what: "answer", token: "a", grade: 2 });
  outbox.drop();
  assert.deepEqual([new Outbox(storage).length, new Outbox(storage).first.token], [1, "b"]);
});

test("storage that is switched off, full or holds something else loses nothing of this page", () => {
  const off = { getItem: () => { throw new Error("off"); }, setItem: () => { throw new Error("full"); } };
  for (const storage of [off, null, { getItem: () => "{", setItem: () => {} }, { getItem: () => '"x"', setItem: () => {} }]) {
    const outbox = new Outbox(storage);
    outbox.add({ what: "skip", token: "a" });
    assert.deepEqual([outbox.length, outbox.first.token], [1, "a"]);
  }
});

test("what is told goes to an address below the page's own", async () => {
  const asked = [];
  const api = makeRateApi(async (url, options) => (asked.push([url, JSON.parse(options.body)]), new Response("{}")));
  await api.tell({ what: "answer", token: "t", grade: -1, dimensions: {} });
  await api.tell({ what: "undo", token: "t" });
  assert.deepEqual(asked, [["api/answer", { token: "t", grade: -1, dimensions: {} }], ["api/undo", { token: "t" }]]);
});

test("answers, movements and the curve are said and drawn", () => {
  assert.deepEqual([2, 0, -1].map(spoken), ["Much better: first picture", "Equal", "Better: second picture"]);
  assert.deepEqual([1, 0.98, 0.97, 0.9, 0.89, -1].map(change), [
    "hardly changed", "hardly changed", "changed a little", "changed a little", "changed a lot", "changed a lot",
  ]);
  assert.deepEqual([3, 0, null, -2].map(movement), ["▲ 3", "", "", "▼ 2"]);
  assert.equal(linePoints([1, 0.3, 0.1], 100, 10), "0.0,0.0 50.0,10.0 100.0,10.0");
  assert.equal(linePoints([1], 100, 10), "0.0,0.0 100.0,0.0");
});
