import assert from "node:assert/strict";
import { readdir, readFile } from "node:fs/promises";
import { test } from "node:test";
import { gzipSync } from "node:zlib";
import { buildPage } from "../src/build.js";

const config = { image_path: "/pictures/", thumb_path: "/thumbs/", backend_url: "/", name: 'Cats & "Dogs"', description: "<b>D</b>" };
const files = await buildPage(config);
const text = (name) => Buffer.from(files.get(name) ?? "").toString();
const zipped = (names) => names.reduce((sum, name) => sum + gzipSync(text(name)).length, 0);
const scripts = [...files.keys()].filter((name) => name.endsWith(".js"));
const html = text("index.html");
const named = [...html.matchAll(/(?:src|href)="static\/([^"]+)"/g)].map((match) => match[1]);

test("the first load is at most 40 KB of scripts, and all of them 70 KB", () => {
  const initial = zipped(named.filter((name) => name.endsWith(".js")));
  assert.ok(initial <= 40 * 1024, `${initial} bytes`);
  assert.ok(zipped(scripts) <= 70 * 1024, `${zipped(scripts)} bytes`);
});

test("every file that the page names was built", () => {
  assert.ok(named.length >= 5);
  for (const name of named) assert.ok(files.has(name), name);
});

test("the page names its files relatively, so it works below any path", () => {
  assert.doesNotMatch(html, /(?:src|href)="\//);
});

test("name and description are escaped in the page", () => {
  assert.ok(html.includes("<title>Cats &#38; &#34;Dogs&#34;</title>"));
  assert.ok(!html.includes("<b>"));
});

test("no development code of Svelte is left", () => {
  for (const name of scripts) assert.ok(!text(name).includes("%c[svelte]"), name);
});

test("the only hosts named are those in messages of Svelte and in XML", () => {
  const hosts = [...files.keys()].flatMap((name) => text(name).match(/https?:\/\/[\w.-]+/g) ?? []);
  assert.deepEqual([...new Set(hosts)].filter((host) => !/svelte\.dev|www\.w3\.org|github\.com$/.test(host)), []);
});

test("the page has no inline script or style, which its policy forbids", () => {
  assert.doesNotMatch(html, /<script(?![^>]*src=)|<style|\son\w+=/);
});

test("components stay small, and only one file of the library fetches", async () => {
  const source = new URL("../src/", import.meta.url);
  for (const name of await readdir(new URL("components/", source))) {
    const lines = (await readFile(new URL(`components/${name}`, source), "utf8")).split("\n").length;
    assert.ok(lines <= 101, `${name} has ${lines} lines`);
  }
  const all = (await readdir(source, { recursive: true })).filter((name) => /\.(js|svelte)$/.test(name) && name !== "lib/api.js");
  for (const name of all) assert.doesNotMatch(await readFile(new URL(name, source), "utf8"), /(?<![#.\w])fetch\(/, name);
});
