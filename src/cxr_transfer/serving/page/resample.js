// Samples of an image become those of a canvas, at full depth: interpolated, and only where they are seen.

import { onCanvas } from "./geometry.js";

const FAR_IN = 4; // screen pixels to a sample, from which on a sample is seen as the square that it is

/** Return the rectangle of a canvas, in whole pixels, that a part of the image covers there. */
export function coveredBy(canvas, place, { left, top, right, bottom }) {
  const one = onCanvas(place, { x: left, y: top });
  const other = onCanvas(place, { x: right, y: bottom });
  // A pixel of the canvas belongs to the part that its middle lies on.
  const from = (a, b) => Math.max(0, Math.ceil(Math.min(a, b) - 0.5));
  const to = (a, b, most) => Math.min(most, Math.ceil(Math.max(a, b) - 0.5));
  return {
    left: from(one.x, other.x),
    top: from(one.y, other.y),
    right: to(one.x, other.x, canvas.width),
    bottom: to(one.y, other.y, canvas.height),
  };
}

/**
 * Draw a piece of samples on a part of the image.
 *
 * `onto` is {data, width}: samples of the canvas, row by row. `place` tells how the image lies there.
 */
export function resample(onto, canvas, place, { piece, core }) {
  const { left, top, right, bottom } = coveredBy(canvas, place, core);
  if (right <= left || bottom <= top) return;
  const { matrix, origin, scale } = place;
  const isTurned = matrix[0] === 0; // rows of the canvas are columns of the image
  const xAxis = { first: piece.x, count: piece.columns, stride: 1 };
  const yAxis = { first: piece.y, count: piece.rows, stride: piece.columns };
  const smooth = scale * piece.scale < FAR_IN;
  const along = (from, to, start, direction, axis) => {
    const low = new Int32Array(to - from);
    const high = new Int32Array(to - from);
    const share = new Float32Array(to - from);
    for (let i = 0; i < low.length; i += 1) {
      const pixel = (from + i + 0.5 - start) / (direction * scale);
      const at = (pixel - axis.first) / piece.scale - 0.5;
      const exact = Math.min(axis.count - 1, Math.max(0, smooth ? at : Math.round(at)));
      const before = Math.floor(exact + 1e-6);
      low[i] = before * axis.stride;
      high[i] = Math.min(before + 1, axis.count - 1) * axis.stride;
      share[i] = Math.max(0, exact - before) < 1e-4 ? 0 : exact - before;
    }
    return { low, high, share };
  };
  const [a, b, c, d] = matrix;
  const across = along(left, right, origin.x, isTurned ? c : a, isTurned ? yAxis : xAxis);
  const down = along(top, bottom, origin.y, isTurned ? b : d, isTurned ? xAxis : yAxis);
  fill(onto, { left, top, right, bottom }, piece.data, across, down);
}

function fill(onto, { left, top, right, bottom }, data, across, down) {
  const { low, high, share } = across;
  const isWhole = share.every((one) => one === 0) && down.share.every((one) => one === 0);
  for (let row = top; row < bottom; row += 1) {
    const above = down.low[row - top];
    const below = down.high[row - top];
    const part = down.share[row - top];
    let to = row * onto.width + left;
    const end = row * onto.width + right;
    if (isWhole) {
      for (let i = 0; to < end; i += 1, to += 1) onto.data[to] = data[above + low[i]];
      continue;
    }
    for (let i = 0; to < end; i += 1, to += 1) {
      const [before, after, beside] = [low[i], high[i], share[i]];
      const upper = data[above + before] * (1 - beside) + data[above + after] * beside;
      const lower = data[below + before] * (1 - beside) + data[below + after] * beside;
      onto.data[to] = upper + (lower - upper) * part + 0.5;
    }
  }
}
