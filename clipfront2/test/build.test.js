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
const pages = ["index.html", "rate.html", "queue.html"];
const named = (page) => [...text(page).matchAll(/(?:src|href)="static\/([^"]+)"/g)].map((match) => match[1]);

/** All scripts that a page can come to load: those it names, and what they import, at once or later. */
function scriptsOf(page) {
  const found = new Set(named(page).filter((name) => name.endsWith(".js")));
  for (const name of found) for (const [part] of text(name).matchAll(/part-\w+\.js/g)) found.add(part);
  return [...found];
}

for (const page of pages) {
  test(`the first load of ${page} is at most 40 KB of scripts, and all of them 70 KB`, () => {
    const initial = zipped(named(page).filter((name) => name.endsWith(".js")));
    assert.ok(initial > 1024 && initial <= 40 * 1024, `${initial} bytes`);
    assert.ok(zipped(scriptsOf(page)) <= 70 * 1024, `${zipped(scriptsOf(page))} bytes`);
  });

  test(`every file that ${page} names was built`, () => {
    assert.ok(named(page).length >= 4);
    for (const name of [...named(page), ...scriptsOf(page)]) assert.ok(files.has(name), name);
  });

  test(`${page} names its files relatively, so it works below any path`, () => {
    assert.doesNotMatch(text(page), /(?:src|href)="\//);
  });

  test(`${page} has no inline script or style, which its policy forbids`, () => {
    assert.doesNotMatch(text(page), /<script(?![^>]*src=)|<style|\son\w+=/);
  });
}

test("every script belongs to a page", () => {
  const known = new Set(pages.flatMap(scriptsOf));
  assert.deepEqual(scripts.filter((name) => !known.has(name)), []);
});

test("name and description are escaped in the page", () => {
  const html = text("index.html");
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

test("components stay small, and only one file of the library fetches", async () => {
  const source = new URL("../src/", import.meta.url);
  const all = (await readdir(source, { recursive: true })).filter((name) => /\.(js|svelte)$/.test(name) && name !== "lib/api.js");
  for (const name of all.filter((name) => /^(components|rate|queue)\/.*\.svelte$/.test(name))) {
    const lines = (await readFile(new URL(name, source), "utf8")).split("\n").length;
    assert.ok(lines <= 101, `${name} has ${lines} lines`);
  }
  for (const name of all) assert.doesNotMatch(await readFile(new URL(name, source), "utf8"), /(?<![#.\w])fetch\(/, name);
});
