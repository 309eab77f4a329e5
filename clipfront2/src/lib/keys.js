import { pressed } from "./pressed.js";

/**
 * Every key the page listens to, in one list: the handlers and the sheet of keys both read it.
 *
 * @typedef {"page" | "grid" | "viewer" | "box"} Scope where a key works; "page" is everywhere
 * @typedef {object} Shortcut
 * @property {Scope} scope
 * @property {string[]} codes `event.code`, the place of a key whatever the keyboard's language
 * @property {string} [character] wherever it lies: "/" lies elsewhere on many keyboards
 * @property {boolean} [shift]
 * @property {boolean} [control]
 * @property {boolean} [single] one bare letter or sign, which people can switch off
 * @property {string} shown
 * @property {string} does
 * @property {string} action name of what is called
 */

const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];

/** @type {Shortcut[]} */
export const SHORTCUTS = [
  { scope: "page", codes: ["Slash"], character: "/", single: true, shown: "/", does: "Go to the search box", action: "focusBox" },
  { scope: "page", codes: ["Slash"], character: "?", shift: true, single: true, shown: "?", does: "Show this list", action: "showKeys" },
  { scope: "box", codes: ["Enter", "NumpadEnter"], control: true, shown: "Ctrl Enter", does: "Keep the words as a term with a weight", action: "keepTerm" },
  { scope: "grid", codes: [...ARROWS, "Home", "End"], shown: "← ↑ ↓ →", does: "Move between pictures", action: "move" },
  { scope: "grid", codes: ["KeyM"], single: true, shown: "M", does: "More like this picture", action: "moreLikeThis" },
  { scope: "viewer", codes: ["ArrowLeft"], shown: "←", does: "Previous picture", action: "previous" },
  { scope: "viewer", codes: ["ArrowRight"], shown: "→", does: "Next picture", action: "next" },
  { scope: "viewer", codes: ["KeyM"], single: true, shown: "M", does: "More like this picture", action: "moreLikeThis" },
];

/**
 * @param {{code: string, key: string, shiftKey: boolean, ctrlKey: boolean, metaKey: boolean, altKey: boolean}} event
 * @param {{scope: Scope, typing: boolean, singleKeys: boolean}} situation
 * @returns {Shortcut | null}
 */
export function findShortcut(event, { scope, typing, singleKeys }) {
  if (event.altKey) return null;
  const control = event.ctrlKey || event.metaKey;
  const fits = (/** @type {Shortcut} */ s) =>
    (s.scope === scope || (s.scope === "page" && scope !== "viewer")) &&
    Boolean(s.control) === control &&
    (!typing || s.scope === "box") &&
    (!s.single || singleKeys);
  return pressed(SHORTCUTS.filter(fits), event);
}
