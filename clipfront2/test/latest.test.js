import assert from "node:assert/strict";
import { test } from "node:test";
import { Latest } from "../src/lib/latest.js";

const later = (value, milliseconds) => new Promise((resolve) => setTimeout(() => resolve(value), milliseconds));

test("an older task that ends last does not count", async () => {
  const latest = new Latest();
  const old = latest.run(() => later("old", 30));
  const fresh = latest.run(() => later("new", 1));
  assert.deepEqual(await fresh, { fresh: true, value: "new" });
  assert.deepEqual(await old, { fresh: false });
});

test("a superseded task is aborted, and its failure is not heard of", async () => {
  const latest = new Latest();
  const old = latest.run(async (signal) => {
    await later(null, 5);
    signal.throwIfAborted();
  });
  latest.run(() => later("new", 1));
  assert.deepEqual(await old, { fresh: false });
});

test("the newest task's failure is thrown", async () => {
  await assert.rejects(new Latest().run(() => Promise.reject(new Error("no"))), /no/);
});

test("cancelling leaves nothing that counts", async () => {
  const latest = new Latest();
  const task = latest.run(() => later(1, 1));
  latest.cancel();
  assert.deepEqual(await task, { fresh: false });
});
