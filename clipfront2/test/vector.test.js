import assert from "node:assert/strict";
import { test } from "node:test";
import { tidyVector, vectorSize } from "../src/lib/vector.js";

const bytes = Buffer.from(Float32Array.from({ length: 32 }, (_, i) => Math.sin(i * 9)).buffer);

test("base64url passes unchanged", () => {
  const text = bytes.toString("base64url");
  assert.equal(tidyVector(text), text);
  assert.equal(vectorSize(text), bytes.length / 2);
});

test("ordinary base64, padded or with spaces for plus signs, is tidied", () => {
  assert.equal(tidyVector(bytes.toString("base64")), bytes.toString("base64url"));
  assert.equal(tidyVector(bytes.toString("base64").replaceAll("+", " ")), bytes.toString("base64url"));
});

test("what cannot be float16 values is refused", () => {
  for (const text of ["", "   ", "not a vector!", "A", "AAAA", "<script>"]) assert.equal(tidyVector(text), null, text);
});
