import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "../src/lib/config.js";

const GOOD = { image_path: "/pictures/", thumb_path: "/thumbs/", backend_url: "/", name: "N", description: "D" };
const read = (config) => readConfig(JSON.stringify(config), "frontend_config.json");

test("a config with every key is taken", () => assert.deepEqual(read(GOOD), GOOD));

test("a missing key is named", () => {
  for (const key of Object.keys(GOOD)) {
    const { [key]: _, ...rest } = GOOD;
    assert.throws(() => read(rest), { message: `frontend_config.json lacks the key "${key}".` });
  }
});

test("an unknown key is named", () => {
  assert.throws(() => read({ ...GOOD, image_pth: "/x/" }), /frontend_config\.json has the unknown key "image_pth"/);
});

test("a value of the wrong kind is named", () => {
  assert.throws(() => read({ ...GOOD, name: 5 }), /"name" must be a string/);
  assert.throws(() => read({ ...GOOD, image_path: "/pictures" }), /"image_path" must end with a slash/);
});

test("what is not an object of JSON is told of in one line", () => {
  for (const text of ["", "{", "[]", "null", "5"]) {
    assert.throws(() => readConfig(text, "frontend_config.json"), (error) => error.message.startsWith("frontend_config.json ") && !error.message.includes("\n"));
  }
});
