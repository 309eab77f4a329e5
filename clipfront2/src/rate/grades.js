/** The five answers, in the order of the buttons. `sign`: its picture, pointing to what is better. */
export const GRADES = [
  { grade: 2, key: "1", text: "Much better", of: "first picture", sign: "much-first" },
  { grade: 1, key: "2", text: "Better", of: "first picture", sign: "first" },
  { grade: 0, key: "3", text: "Equal", of: "", sign: "equal" },
  { grade: -1, key: "4", text: "Better", of: "second picture", sign: "second" },
  { grade: -2, key: "5", text: "Much better", of: "second picture", sign: "much-second" },
];

/** @param {number} grade */
export function spoken(grade) {
  const { text, of } = GRADES.find((one) => one.grade === grade) ?? GRADES[2];
  return of ? `${text}: ${of}` : text;
}

/**
 * @param {number | null} rose how many places
 * @returns {string} "▲ 3"
 */
export function movement(rose) {
  if (!rose) return "";
  return rose > 0 ? `▲ ${rose}` : `▼ ${-rose}`;
}

/**
 * How much an order changed, for people who wonder whether further answers still tell something.
 * @param {number} agreement Spearman's correlation of the order with what it was
 */
export function change(agreement) {
  if (agreement >= 0.98) return "hardly changed";
  return agreement >= 0.9 ? "changed a little" : "changed a lot";
}

/** @param {number} share */
export function percent(share) {
  return Math.round(share * 100);
}

/**
 * @param {number[]} values between 0 and 1
 * @param {number} width
 * @param {number} height
 * @returns {string} the points of a line, the lowest value that is drawn being 0.3
 */
export function linePoints(values, width, height) {
  const all = values.length === 1 ? [values[0], values[0]] : values;
  const step = width / (all.length - 1);
  const y = (/** @type {number} */ value) => height * (1 - (Math.max(0.3, value) - 0.3) / 0.7);
  return all.map((value, place) => `${(place * step).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
}
