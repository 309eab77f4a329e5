/**
 * Which entry of a page's list of keys an event means. A character goes before a place on the keyboard: "?" is "?" wherever it
 * lies and whether or not Shift is told of, as by keyboards on a screen and by programs that type.
 *
 * @template {{codes: string[], character?: string, shift?: boolean}} Entry
 *   codes: `event.code`, the place of a key whatever the keyboard's language; character: where it has none that is fixed
 * @param {Entry[]} entries those that count now
 * @param {{code: string, key: string, shiftKey: boolean}} event
 * @returns {Entry | null}
 */
export function pressed(entries, { code, key, shiftKey }) {
  const named = entries.find((entry) => entry.character === key);
  return named ?? entries.find((entry) => entry.codes.includes(code) && Boolean(entry.shift) === shiftKey) ?? null;
}
