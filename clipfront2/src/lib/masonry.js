/**
 * Where every tile goes. Widths and heights of the pictures are known from the answer, so nothing
 * is measured and nothing moves when a picture arrives.
 *
 * @typedef {{width?: number | null, height?: number | null}} Sized
 * @typedef {object} Layout
 * @property {number} columnWidth
 * @property {Float64Array} left
 * @property {Float64Array} top
 * @property {Float64Array} tall height of each tile
 * @property {Uint16Array} column
 * @property {number[][]} members indexes in each column, from top to bottom
 * @property {number} height of the whole
 */

/** Beyond these a picture is cropped: one strip of screenshots must not fill three screens. */
const FLATTEST = 0.4;
const TALLEST = 2.2;

/**
 * @param {Sized} item
 * @returns {number} height divided by width; 1 when the size is unknown
 */
export function tileRatio(item) {
  const { width, height } = item;
  if (!width || !height || width < 0 || height < 0) return 1;
  return Math.min(TALLEST, Math.max(FLATTEST, height / width));
}

/**
 * Each tile goes to the column that is shortest so far, so better results stand higher.
 * @param {Sized[]} items
 * @param {number} width
 * @param {{target?: number, gap?: number}} [options] wished width of a column, space between tiles
 * @returns {Layout}
 */
export function layOut(items, width, { target = 220, gap = 12 } = {}) {
  const columns = Math.max(2, Math.floor((width + gap) / (target + gap)));
  const columnWidth = Math.max(1, Math.floor((width - gap * (columns - 1)) / columns));
  const margin = Math.floor((width - columns * columnWidth - gap * (columns - 1)) / 2);
  const left = new Float64Array(items.length);
  const top = new Float64Array(items.length);
  const tall = new Float64Array(items.length);
  const column = new Uint16Array(items.length);
  /** @type {number[][]} */
  const members = Array.from({ length: columns }, () => []);
  const ends = new Float64Array(columns);
  for (let index = 0; index < items.length; index++) {
    let shortest = 0;
    for (let c = 1; c < columns; c++) if (ends[c] < ends[shortest]) shortest = c;
    column[index] = shortest;
    left[index] = margin + shortest * (columnWidth + gap);
    top[index] = ends[shortest];
    tall[index] = Math.round(columnWidth * tileRatio(items[index]));
    members[shortest].push(index);
    ends[shortest] += tall[index] + gap;
  }
  return { columnWidth, left, top, tall, column, members, height: Math.max(0, Math.max(...ends) - gap) };
}

/**
 * @param {Layout} layout
 * @param {number} from
 * @param {number} to
 * @returns {number[]} indexes of the tiles that touch the band, in order of rank
 */
export function tilesBetween(layout, from, to) {
  const found = [];
  for (const members of layout.members) {
    let low = 0;
    let high = members.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (layout.top[members[middle]] + layout.tall[members[middle]] > from) high = middle;
      else low = middle + 1;
    }
    for (; low < members.length && layout.top[members[low]] < to; low++) found.push(members[low]);
  }
  return found.sort((a, b) => a - b);
}

/**
 * The tile that an arrow key leads to: up and down stay in the column, left and right go to the
 * tile of the next column whose middle is nearest.
 * @param {Layout} layout
 * @param {number} index
 * @param {string} key an arrow key's name, "Home" or "End"
 * @returns {number} the same index when there is no tile that way
 */
export function neighbour(layout, index, key) {
  if (key === "Home") return 0;
  if (key === "End") return layout.top.length - 1;
  const own = layout.members[layout.column[index]];
  if (key === "ArrowUp") return own[own.indexOf(index) - 1] ?? index;
  if (key === "ArrowDown") return own[own.indexOf(index) + 1] ?? index;
  const beside = layout.members[layout.column[index] + (key === "ArrowLeft" ? -1 : 1)] ?? [];
  const middle = (/** @type {number} */ i) => layout.top[i] + layout.tall[i] / 2;
  let best = index;
  for (const other of beside) {
    if (best === index || Math.abs(middle(other) - middle(index)) < Math.abs(middle(best) - middle(index))) best = other;
  }
  return best;
}

/**
 * The page redraws when this changes, not on every pixel of scrolling.
 * @param {number} y
 * @param {number} [step]
 */
export function quantise(y, step = 300) {
  return Math.floor(y / step) * step;
}
