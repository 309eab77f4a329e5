import { pressed } from "../lib/pressed.js";

/**
 * Every key this page listens to; the handler and the sheet of keys both read it. Arrows say the same as a swipe.
 *
 * @typedef {object} Shortcut
 * @property {string[]} codes `event.code`, the place of a key whatever the keyboard's language
 * @property {string} [character] wherever it lies
 * @property {boolean} [control]
 * @property {boolean} [single] one bare letter or sign, which people can switch off
 * @property {string} shown
 * @property {string} does
 * @property {"keep" | "discard" | "later" | "undo" | "name" | "folder" | "tags" | "keys"} action
 */

/** @type {Shortcut[]} */
export const SHORTCUTS = [
  { codes: ["ArrowRight"], shown: "→", does: "Keep", action: "keep" },
  { codes: ["ArrowLeft"], shown: "←", does: "Discard", action: "discard" },
  { codes: ["ArrowDown"], shown: "↓", does: "Later: to the end of the queue", action: "later" },
  { codes: ["KeyU"], single: true, shown: "U", does: "Undo", action: "undo" },
  { codes: ["KeyZ"], control: true, shown: "Ctrl Z", does: "Undo", action: "undo" },
  { codes: ["KeyN"], single: true, shown: "N", does: "Change the name", action: "name" },
  { codes: ["KeyF"], single: true, shown: "F", does: "Change the folder", action: "folder" },
  { codes: ["KeyT"], single: true, shown: "T", does: "Change the tags", action: "tags" },
  { codes: [], character: "?", single: true, shown: "?", does: "Show this list", action: "keys" },
];

/** What works while one types: these are handled by the form itself. */
export const TYPING = [
  { shown: "Enter", does: "Keep" },
  { shown: "Esc", does: "Back to the picture" },
];

/**
 * @param {{code: string, key: string, shiftKey: boolean, ctrlKey: boolean, metaKey: boolean, altKey: boolean, repeat: boolean}} event
 * @param {{typing: boolean, singleKeys: boolean}} situation
 * @returns {Shortcut | null}
 */
export function findShortcut(event, { typing, singleKeys }) {
  // A key held down would decide about pictures that nobody has seen.
  if (typing || event.altKey || event.repeat) return null;
  const control = event.ctrlKey || event.metaKey;
  const fits = (/** @type {Shortcut} */ shortcut) =>
    Boolean(shortcut.control) === control && (!shortcut.single || singleKeys);
  return pressed(SHORTCUTS.filter(fits), event);
}
