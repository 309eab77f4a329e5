import assert from "node:assert/strict";
import { test } from "node:test";
import { findShortcut, SHORTCUTS } from "../src/lib/keys.js";

const press = (code, key, change = {}) => ({ code, key, shiftKey: false, ctrlKey: false, metaKey: false, altKey: false, ...change });
const found = (event, situation = {}) => findShortcut(event, { scope: "page", typing: false, singleKeys: true, ...situation })?.action ?? null;

test("the slash leads to the box and the question mark to the list of keys", () => {
  assert.equal(found(press("Slash", "/")), "focusBox");
  assert.equal(found(press("Slash", "?", { shiftKey: true })), "showKeys");
  assert.equal(found(press("Digit7", "/", { shiftKey: true })), "focusBox");
});

test("a character goes before a key's place, whether or not Shift is told of", () => {
  assert.equal(found(press("Slash", "?")), "showKeys");
  assert.equal(found(press("", "?")), "showKeys");
  assert.equal(found(press("Slash", "/", { shiftKey: true })), "focusBox");
  assert.equal(found(press("Slash", "?"), { singleKeys: false }), null);
});

test("letters and signs do nothing while one types, or when they are switched off", () => {
  assert.equal(found(press("Slash", "/"), { typing: true, scope: "box" }), null);
  assert.equal(found(press("KeyM", "m"), { scope: "grid", singleKeys: false }), null);
  assert.equal(found(press("ArrowDown", "ArrowDown"), { scope: "grid", singleKeys: false }), "move");
});

test("the browser's own combinations are left alone", () => {
  for (const change of [{ ctrlKey: true }, { metaKey: true }, { altKey: true }]) {
    assert.equal(found(press("KeyM", "m", change), { scope: "grid" }), null);
    assert.equal(found(press("ArrowLeft", "ArrowLeft", change), { scope: "viewer" }), null);
  }
});

test("a key works where it belongs", () => {
  assert.equal(found(press("ArrowLeft", "ArrowLeft")), null);
  assert.equal(found(press("ArrowLeft", "ArrowLeft"), { scope: "grid" }), "move");
  assert.equal(found(press("ArrowLeft", "ArrowLeft"), { scope: "viewer" }), "previous");
  assert.equal(found(press("Slash", "/"), { scope: "viewer" }), null);
  assert.equal(found(press("Enter", "Enter", { ctrlKey: true }), { scope: "box", typing: true }), "keepTerm");
  assert.equal(found(press("Enter", "Enter"), { scope: "box", typing: true }), null);
});

test("every shortcut can be shown in the list of keys", () => {
  for (const shortcut of SHORTCUTS) assert.ok(shortcut.shown && shortcut.does && shortcut.action);
});
