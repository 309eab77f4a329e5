/**
 * Builds the pages into `static/`: node src/build.js, from any folder. Reads `frontend_config.json`
 * at the top of the project. Names of scripts and styles hold a hash of their content, so they may
 * be cached for ever. Nothing is written unless everything could be built.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import esbuild from "esbuild";
import sveltePlugin from "esbuild-svelte";
import * as sass from "sass";
import { readConfig } from "./lib/config.js";

const source = dirname(fileURLToPath(import.meta.url));
const target = join(source, "..", "static");
const configFile = join(source, "..", "..", "frontend_config.json");

/**
 * Each page is bundled by itself, so that none carries what only another one needs. `page.html` is the
 * template of all; `title` and `more`, what a page alone has in its head, may name what is configured.
 */
const PAGES = [
  {
    page: "index.html",
    entry: "app.js",
    style: "main",
    title: "{{name}}",
    more: [
      '<meta name="description" content="{{description}}" />',
      '<link rel="manifest" href="static/manifest.webmanifest" />',
    ],
  },
  { page: "rate.html", entry: "rate/rate.js", style: "rate", title: "Rate – {{name}}", more: [] },
  { page: "queue.html", entry: "queue/queue.js", style: "queue", title: "Queue – {{name}}", more: [] },
];

/**
 * Leaves out what the page has no use for: Svelte's branches for development, a quarter of the
 * bundle, and its custom elements, which esbuild keeps because their file runs code when loaded.
 */
const lean = {
  name: "lean",
  setup(build) {
    build.onResolve({ filter: /^esm-env$/ }, () => ({ path: "esm-env", namespace: "lean" }));
    build.onLoad({ filter: /.*/, namespace: "lean" }, () => ({
      contents: "export const DEV = false, BROWSER = true, NODE = false;",
    }));
    build.onResolve({ filter: /\/custom-element\.js$/ }, ({ path, resolveDir }) => ({
      path: join(resolveDir, path),
      sideEffects: false,
    }));
  },
};

/**
 * The parts that a script imports at once: the page names them, so that they load side by side.
 * @param {import("esbuild").Metafile} metafile
 * @param {string} path
 * @param {Set<string>} [found]
 */
function partsOf(metafile, path, found = new Set()) {
  for (const { path: part, kind } of metafile.outputs[path].imports) {
    if (kind !== "import-statement" || found.has(part)) continue;
    found.add(part);
    partsOf(metafile, part, found);
  }
  return found;
}

/** @param {string} text */
const escapeHtml = (text) => text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

/**
 * @param {string} entry
 * @param {import("./lib/config.js").Config} config
 */
function bundle(entry, config) {
  return esbuild.build({
    absWorkingDir: source,
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    metafile: true,
    format: "esm",
    splitting: true,
    target: "es2022",
    charset: "utf8",
    legalComments: "none",
    outdir: target,
    entryNames: "[name]-[hash]",
    chunkNames: "part-[hash]",
    mainFields: ["svelte", "browser", "module", "main"],
    conditions: ["svelte", "browser", "production"],
    define: { FRONTEND_CONFIG: JSON.stringify(config) },
    plugins: [lean, sveltePlugin({ compilerOptions: { dev: false, css: "external" } })],
    logLevel: "warning",
  });
}

/** @param {import("./lib/config.js").Config} config */
function manifest({ name, description }) {
  const icon = { src: "favicon.svg", type: "image/svg+xml", sizes: "any" };
  // Addresses in a manifest are relative to itself, so "../" is the page.
  return JSON.stringify({ name, short_name: name, description, start_url: "../", display: "standalone", icons: [icon] });
}

/**
 * @param {string} template
 * @param {Record<string, string>} values
 */
function fill(template, values) {
  return template.replace(/\{\{(.+?)\}\}/g, (_, key) => escapeHtml(values[key]));
}

/**
 * @param {Map<string, string | Uint8Array>} files
 * @param {string} name
 * @param {string} ending
 * @param {string} content
 * @returns {string} the name it has got
 */
function addHashed(files, name, ending, content) {
  const hashed = `${name}-${createHash("sha256").update(content).digest("hex").slice(0, 8)}${ending}`;
  files.set(hashed, content);
  return hashed;
}

/**
 * @param {Map<string, string | Uint8Array>} files gets the page, its scripts and its style
 * @param {(typeof PAGES)[number]} what
 * @param {import("./lib/config.js").Config} config
 * @param {string} theme the name of the script that all pages use
 */
async function addPage(files, { page, entry, style, title, more }, config, theme) {
  const { outputFiles, metafile } = await bundle(entry, config);
  for (const file of outputFiles) files.set(basename(file.path), file.contents);
  const main = Object.keys(metafile.outputs).find((path) => metafile.outputs[path].entryPoint === entry) ?? "";
  const css = sass.compile(join(source, "styles", `${style}.scss`), { style: "compressed" }).css;
  const names = { theme, script: basename(main), style: addHashed(files, style, ".css", css) };
  const parts = [...partsOf(metafile, main)].map((part) => `<link rel="modulepreload" href="static/${basename(part)}" />`);
  const template = (await readFile(join(source, "page.html"), "utf8"))
    .replace("{{title}}", title)
    .replace("<!-- more -->", [...more, ...parts].join("\n    "));
  files.set(page, fill(template, { ...config, ...names }));
}

/**
 * @param {import("./lib/config.js").Config} config
 * @returns {Promise<Map<string, string | Uint8Array>>} files by name
 */
export async function buildPage(config) {
  const files = new Map();
  // Not a module: it must run before the first paint.
  const theme = await esbuild.transform(await readFile(join(source, "theme.js"), "utf8"), { minify: true });
  const themeName = addHashed(files, "theme", ".js", theme.code);
  for (const page of PAGES) await addPage(files, page, config, themeName);
  files.set("manifest.webmanifest", manifest(config));
  for (const asset of await readdir(join(source, "assets"))) files.set(asset, await readFile(join(source, "assets", asset)));
  return files;
}

async function main() {
  let config;
  try {
    config = readConfig(await readFile(configFile, "utf8"), "frontend_config.json");
  } catch (error) {
    console.error(error.code === "ENOENT" ? `${configFile} is missing.` : error.message);
    process.exit(2);
  }
  const files = await buildPage(config);
  await rm(target, { recursive: true, force: true });
  await mkdir(target, { recursive: true });
  for (const [name, content] of files) await writeFile(join(target, name), content);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) await main();
