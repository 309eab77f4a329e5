import assert from "node:assert/strict";
import { test } from "node:test";
import { findShortcut } from "../src/queue/keys.js";

const situation = { typing: false, singleKeys: true };
const press = (code, key, more = {}) => ({ code, key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, repeat: false, ...more });
const action = (event, more = {}) => findShortcut(event, { ...situation, ...more })?.action;

test("arrows decide, letters take back and edit", () => {
  assert.equal(action(press("ArrowRight", "ArrowRight")), "keep");
  assert.equal(action(press("ArrowLeft", "ArrowLeft")), "discard");
  assert.equal(action(press("ArrowDown", "ArrowDown")), "later");
  assert.equal(action(press("KeyU", "u")), "undo");
  assert.equal(action(press("KeyZ", "z", { ctrlKey: true })), "undo");
  assert.equal(action(press("Minus", "?", { shiftKey: true })), "keys");
});

test("nothing is decided while one types, by a key that is held down, or with other modifiers", () => {
  assert.equal(action(press("ArrowRight", "ArrowRight"), { typing: true }), undefined);
  assert.equal(action(press("ArrowRight", "ArrowRight", { repeat: true })), undefined);
  assert.equal(action(press("ArrowRight", "ArrowRight", { altKey: true })), undefined);
  assert.equal(action(press("ArrowRight", "ArrowRight", { ctrlKey: true })), undefined);
  assert.equal(action(press("ArrowRight", "ArrowRight", { shiftKey: true })), undefined);
});

test("single letters can be switched off, arrows stay", () => {
  assert.equal(action(press("KeyU", "u"), { singleKeys: false }), undefined);
  assert.equal(action(press("ArrowLeft", "ArrowLeft"), { singleKeys: false }), "discard");
});

test("the list of keys is a question mark wherever it lies, with Shift or without", () => {
  for (const shiftKey of [true, false]) assert.equal(action(press("KeyN", "?", { shiftKey })), "keys");
});
