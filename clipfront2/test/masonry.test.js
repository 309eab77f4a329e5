import assert from "node:assert/strict";
import { test } from "node:test";
import { layOut, neighbour, quantise, tileRatio, tilesBetween } from "../src/lib/masonry.js";

/** The same pictures on every run. */
function pictures(count) {
  let seed = 7;
  const next = () => (seed = (seed * 16807) % 2147483647) / 2147483647;
  return Array.from({ length: count }, () => ({ width: 200 + Math.floor(next() * 1000), height: 200 + Math.floor(next() * 1000) }));
}

test("tiles of a column stand below each other with one gap between them, and none overlap", () => {
  const layout = layOut(pictures(500), 1200, { gap: 10 });
  for (const members of layout.members) {
    let end = 0;
    for (const index of members) {
      assert.equal(layout.top[index], end);
      end += layout.tall[index] + 10;
    }
  }
});

test("every tile is in one column and inside the width", () => {
  for (const width of [296, 366, 800, 1201, 2500]) {
    const layout = layOut(pictures(100), width);
    assert.deepEqual(layout.members.flat().sort((a, b) => a - b), Array.from({ length: 100 }, (_, i) => i));
    for (let i = 0; i < 100; i++) assert.ok(layout.left[i] >= 0 && layout.left[i] + layout.columnWidth <= width);
  }
});

test("columns end at about the same height", () => {
  const layout = layOut(pictures(1000), 1200);
  const ends = layout.members.map((members) => layout.top[members.at(-1)] + layout.tall[members.at(-1)]);
  assert.ok(Math.max(...ends) - Math.min(...ends) < 2.2 * layout.columnWidth + 12);
  assert.equal(layout.height, Math.max(...ends));
});

test("the best results stand in the first row, from left to right", () => {
  const layout = layOut(pictures(50), 1200);
  for (let c = 0; c < layout.members.length; c++) assert.equal(layout.members[c][0], c);
});

test("a phone has two columns, however narrow", () => {
  for (const width of [1, 200, 296, 366]) assert.equal(layOut(pictures(4), width).members.length, 2);
});

test("sizes that are missing or impossible make a square", () => {
  for (const item of [{}, { width: null, height: null }, { width: 0, height: 10 }, { width: -1, height: 3 }, { width: 5 }]) assert.equal(tileRatio(item), 1);
});

test("strips are cropped, not shown in full length", () => {
  assert.equal(tileRatio({ width: 100, height: 20000 }), 2.2);
  assert.equal(tileRatio({ width: 20000, height: 100 }), 0.4);
});

test("no results have no height", () => {
  const layout = layOut([], 1200);
  assert.equal(layout.height, 0);
  assert.deepEqual(tilesBetween(layout, 0, 1000), []);
});

test("the tiles of a band are those that a look at every tile finds, in order of rank", () => {
  const layout = layOut(pictures(2000), 1000);
  for (const [from, to] of [[0, 900], [-600, 300], [12345, 13345], [layout.height - 10, layout.height + 500], [-500, -1]]) {
    const looked = [];
    for (let i = 0; i < 2000; i++) if (layout.top[i] + layout.tall[i] > from && layout.top[i] < to) looked.push(i);
    assert.deepEqual(tilesBetween(layout, from, to), looked);
  }
});

test("further pages leave the tiles before them where they are", () => {
  const all = pictures(300);
  const before = layOut(all.slice(0, 100), 1200);
  const after = layOut(all, 1200);
  for (let i = 0; i < 100; i++) assert.deepEqual([after.left[i], after.top[i]], [before.left[i], before.top[i]]);
});

test("ten thousand tiles are laid out in well under a second", () => {
  const begin = performance.now();
  layOut(pictures(10000), 1200);
  assert.ok(performance.now() - begin < 500);
});

test("arrow keys stay in the column upwards and downwards and change it sideways", () => {
  const layout = layOut(pictures(200), 1200);
  const index = layout.members[1][5];
  assert.equal(neighbour(layout, index, "ArrowDown"), layout.members[1][6]);
  assert.equal(neighbour(layout, index, "ArrowUp"), layout.members[1][4]);
  assert.equal(layout.column[neighbour(layout, index, "ArrowRight")], 2);
  assert.equal(layout.column[neighbour(layout, index, "ArrowLeft")], 0);
  assert.equal(neighbour(layout, index, "Home"), 0);
  assert.equal(neighbour(layout, index, "End"), 199);
});

test("arrow keys stop at the edges", () => {
  const layout = layOut(pictures(200), 1200);
  assert.equal(neighbour(layout, 0, "ArrowUp"), 0);
  assert.equal(neighbour(layout, 0, "ArrowLeft"), 0);
  const last = layout.members.at(-1).at(-1);
  assert.equal(neighbour(layout, last, "ArrowDown"), last);
  assert.equal(neighbour(layout, last, "ArrowRight"), last);
  assert.equal(neighbour(layOut(pictures(1), 1200), 0, "ArrowRight"), 0);
});

test("places are rounded down to whole steps", () => {
  assert.equal(quantise(0), 0);
  assert.equal(quantise(299), 0);
  assert.equal(quantise(301), 300);
  assert.equal(quantise(-1), -300);
});
