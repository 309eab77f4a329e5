/** Queries offered while the box is empty: some plain, some that add and subtract. */
import { makeTerm } from "./terms.js";

/** @type {{label: string, terms: import("./terms.js").Term[]}[]} */
export const EXAMPLES = [
  { label: "a surprised cat", terms: [makeTerm("text", "a surprised cat")] },
  { label: "two people arguing", terms: [makeTerm("text", "two people arguing")] },
  { label: "handwriting on paper", terms: [makeTerm("text", "handwriting on paper")] },
  { label: "dog + snow", terms: [makeTerm("text", "dog"), makeTerm("text", "snow")] },
  { label: "street − people", terms: [makeTerm("text", "street"), makeTerm("text", "people", -0.6)] },
];
