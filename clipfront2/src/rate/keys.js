import { pressed } from "../lib/pressed.js";

/**
 * Every key of the page, in one list: the handler and the sheet of keys both read it. `code` is the place of a key,
 * whatever the keyboard's language.
 *
 * @typedef {{codes: string[], character?: string, shift?: boolean, single?: boolean, shown: string, does: string, action: string, grade?: number}} Key
 * @type {Key[]}
 */
export const KEYS = [
  { codes: ["Digit1", "Numpad1"], single: true, shown: "1", does: "The first is much better", action: "answer", grade: 2 },
  { codes: ["Digit2", "Numpad2"], single: true, shown: "2", does: "The first is better", action: "answer", grade: 1 },
  { codes: ["Digit3", "Numpad3"], single: true, shown: "3", does: "Equal", action: "answer", grade: 0 },
  { codes: ["Digit4", "Numpad4"], single: true, shown: "4", does: "The second is better", action: "answer", grade: -1 },
  { codes: ["Digit5", "Numpad5"], single: true, shown: "5", does: "The second is much better", action: "answer", grade: -2 },
  { codes: ["ArrowLeft"], shown: "←", does: "The first is better; with Shift, much better", action: "answer", grade: 1 },
  { codes: ["ArrowLeft"], shift: true, shown: "", does: "", action: "answer", grade: 2 },
  { codes: ["ArrowRight"], shown: "→", does: "The second is better; with Shift, much better", action: "answer", grade: -1 },
  { codes: ["ArrowRight"], shift: true, shown: "", does: "", action: "answer", grade: -2 },
  { codes: ["ArrowDown"], shown: "↓", does: "Equal", action: "answer", grade: 0 },
  { codes: ["KeyS"], single: true, shown: "S", does: "Skip this pair", action: "skip" },
  { codes: ["KeyZ", "KeyU"], single: true, shown: "Z or U", does: "Take back the last answer, and those before it", action: "undo" },
  { codes: ["Backspace"], shown: "⌫", does: "The same", action: "undo" },
  { codes: ["Slash"], character: "?", shift: true, single: true, shown: "?", does: "Show this list", action: "showKeys" },
];

/**
 * @param {{code: string, key: string, shiftKey: boolean, ctrlKey: boolean, metaKey: boolean, altKey: boolean, repeat?: boolean}} event
 * @param {boolean} singleKeys whether letters and signs are listened to
 * @returns {Key | null} none for a key that is held down: it would answer pairs that nobody saw
 */
export function findKey(event, singleKeys) {
  if (event.altKey || event.ctrlKey || event.metaKey || event.repeat) return null;
  return pressed(KEYS.filter((key) => !key.single || singleKeys), event);
}
