import assert from "node:assert/strict";
import { test } from "node:test";
import { ApiError, makeApi } from "../src/lib/api.js";
import { makeTerm } from "../src/lib/terms.js";

/** @param {Response | Error} answer */
function server(answer) {
  const requests = [];
  const send = async (address, options) => {
    requests.push({ address, ...options });
    if (answer instanceof Error) throw answer;
    return answer;
  };
  return { api: makeApi("/base/", send), requests };
}

const search = (api) => api.search([makeTerm("text", "cat", 0.5)], { k: 100, offset: 200 });

test("a search posts its terms with weights", async () => {
  const { api, requests } = server(Response.json({ results: [], total: 0, seconds: 0, notices: [] }));
  await search(api);
  assert.equal(requests[0].address, "/base/api/search");
  assert.deepEqual(JSON.parse(requests[0].body), { terms: [{ text: "cat", weight: 0.5 }], k: 100, offset: 200 });
});

test("an image is sent as it is", async () => {
  const { api, requests } = server(Response.json({ embedding: "AAA", model_id: "m" }));
  const image = new Blob(["bytes"], { type: "image/png" });
  assert.equal((await api.embed(image)).embedding, "AAA");
  assert.equal(requests[0].body, image);
});

test("the server's own sentence is what people read", async () => {
  const { api } = server(Response.json({ error: "The model is loading." }, { status: 503 }));
  await assert.rejects(search(api), (error) => error instanceof ApiError && error.message === "The model is loading." && error.status === 503);
});

test("an error that is not ours is still put in words", async () => {
  for (const status of [400, 404, 413, 429, 500, 502, 503]) {
    const { api } = server(new Response("<h1>nginx</h1>", { status }));
    await assert.rejects(search(api), (error) => error instanceof ApiError && /^[A-Z].*[.]$/.test(error.message) && !error.message.includes("<"));
  }
});

test("an answer that is not JSON is not taken for results", async () => {
  const { api } = server(new Response("<h1>Log in</h1>"));
  await assert.rejects(search(api), /cannot read/);
});

test("no answer at all is put in words", async () => {
  const { api } = server(new TypeError("Failed to fetch"));
  await assert.rejects(search(api), (error) => error instanceof ApiError && error.status === 0 && /cannot be reached/.test(error.message));
});

test("an aborted request stays an abort", async () => {
  const { api } = server(new DOMException("stopped", "AbortError"));
  await assert.rejects(search(api), { name: "AbortError" });
});
