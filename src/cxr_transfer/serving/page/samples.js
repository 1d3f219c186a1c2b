// Samples of an image at full depth: all of it small, and parts of it larger where they are looked at.
// A piece is {data, columns, rows, x, y, scale}: each sample is the mean of scale x scale pixels, the
// first of them at pixel (x, y). Knows how to ask for samples; knows no greys and no canvas.

const OVERVIEW = 2048; // longest side of the whole image at once
const TILE = 1024; // samples
const KEPT = 40; // tiles, of two MB each: more than the largest screen shows
const LATER_MS = 3000; // what could not be had is asked for again

export class Samples {
  #ask; // ({x, y, width, height, scale}, signal) -> promise of Uint16Array
  #pieces; // the whole image, ever smaller
  #tiles = new Map(); // key -> piece, or {cancel} while it is under way; the latest last

  constructor({ width, height }, overview, ask) {
    this.width = width;
    this.height = height;
    this.#ask = ask;
    this.#pieces = [overview];
    this.arrived = () => {};
  }

  /** Ask for an image as a whole, and return its samples. */
  static async of({ width, height }, ask, signal) {
    const scale = Math.ceil(Math.max(width, height) / OVERVIEW);
    const data = await ask({ scale }, signal);
    const overview = { data, columns: Math.ceil(width / scale), rows: Math.ceil(height / scale), x: 0, y: 0, scale };
    return new Samples({ width, height }, overview, ask);
  }

  /** Return the whole image, with about as many pixels to a sample as there are to one of the screen. */
  whole(pixels) {
    let at = 0;
    while (this.#pixelsOf(at + 1) <= pixels && this.#smaller(at + 1)) at += 1;
    return this.#pieces[at];
  }

  /**
   * Return tiles of a part of the image, in pixels, that are finer than the whole, so far as they are there.
   *
   * The others are asked for, and `arrived()` is called once one comes; what is not wanted any more is
   * cancelled. Each is {piece, core}: the part of the image that it is to be drawn on.
   */
  parts({ left, top, right, bottom }, pixels) {
    let scale = this.#pieces[0].scale;
    if (pixels >= scale) {
      this.#cancelAllBut(new Set());
      return [];
    }
    scale = 2 ** Math.floor(Math.log2(Math.max(1, pixels)));
    const side = TILE * scale;
    const wanted = new Map();
    for (let y = Math.floor(Math.max(0, top) / side); y * side < Math.min(bottom, this.height); y += 1) {
      for (let x = Math.floor(Math.max(0, left) / side); x * side < Math.min(right, this.width); x += 1) {
        wanted.set(`${scale} ${x} ${y}`, { x: x * side, y: y * side, side, scale });
      }
    }
    this.#cancelAllBut(wanted);
    const there = [];
    for (const [key, tile] of wanted) {
      const { x, y } = tile;
      const core = { left: x, top: y, right: Math.min(x + side, this.width), bottom: Math.min(y + side, this.height) };
      const piece = this.#tiles.get(key) ?? this.#asked(key, tile);
      if (!piece.data) continue;
      this.#tiles.delete(key); // the latest last
      this.#tiles.set(key, piece);
      there.push({ piece, core });
    }
    return there;
  }

  /** Let all go but the whole image. */
  rest() {
    this.#cancelAllBut(new Set());
    this.#tiles.clear();
  }

  #asked(key, { x, y, side, scale }) {
    // A sample more on each side: neighbours of the samples at the edge.
    const left = Math.max(0, x - scale);
    const top = Math.max(0, y - scale);
    const width = Math.min(this.width, x + side + scale) - left;
    const height = Math.min(this.height, y + side + scale) - top;
    const cancel = new AbortController();
    const coming = { cancel };
    this.#tiles.set(key, coming);
    this.#ask({ x: left, y: top, width, height, scale }, cancel.signal).then(
      (data) => {
        if (this.#tiles.get(key) !== coming) return;
        const piece = { data, columns: Math.ceil(width / scale), rows: Math.ceil(height / scale), x: left, y: top, scale };
        this.#tiles.delete(key);
        this.#tiles.set(key, piece);
        while (this.#tiles.size > KEPT) this.#tiles.delete(this.#tiles.keys().next().value);
        this.arrived();
      },
      () => {
        setTimeout(() => this.#tiles.get(key) === coming && this.#tiles.delete(key), LATER_MS);
      },
    );
    return coming;
  }

  #cancelAllBut(wanted) {
    for (const [key, { cancel }] of this.#tiles) {
      if (!cancel || wanted.has(key)) continue;
      cancel.abort();
      this.#tiles.delete(key);
    }
  }

  #pixelsOf(at) {
    return this.#pieces[0].scale * 2 ** at;
  }

  /** Return the whole image with half of the samples a side, `at` times; null where nothing would be left. */
  #smaller(at) {
    if (this.#pieces[at]) return this.#pieces[at];
    const from = this.#pieces[at - 1];
    if (Math.min(from.columns, from.rows) < 4) return null;
    const [columns, rows] = [from.columns >> 1, from.rows >> 1];
    const data = new Uint16Array(columns * rows);
    for (let row = 0, to = 0; row < rows; row += 1) {
      for (let i = 2 * row * from.columns, end = i + 2 * columns; i < end; i += 2, to += 1) {
        const below = i + from.columns;
        data[to] = (from.data[i] + from.data[i + 1] + from.data[below] + from.data[below + 1] + 2) >> 2;
      }
    }
    this.#pieces[at] = { data, columns, rows, x: 0, y: 0, scale: 2 * from.scale };
    return this.#pieces[at];
  }
}
