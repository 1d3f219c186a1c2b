// The colours of heat maps, and what a map is of: on the screen and in saved pictures.

import { asStored, sizeOf } from "./geometry.js";
import { className, HEAT_LEGEND } from "./words.js";

/** The colours of `figures/colours.py`, from nothing to most. */
export const HEAT = [
  [0, 0, 4],
  [33, 12, 74],
  [87, 16, 110],
  [138, 34, 106],
  [188, 55, 84],
  [228, 90, 49],
  [249, 142, 9],
  [249, 203, 53],
  [252, 255, 164],
];

/** Draw the colours from nothing, on the left or below, to most into a rectangle of a canvas. */
export function drawColours(context, x, y, width, height) {
  const isUpright = height > width;
  const colours = isUpright ? context.createLinearGradient(0, y + height, 0, y) : context.createLinearGradient(x, 0, x + width, 0);
  HEAT.forEach((colour, place) => colours.addColorStop(place / (HEAT.length - 1), `rgb(${colour.join(" ")})`));
  context.fillStyle = colours;
  context.fillRect(x, y, width, height);
}

/** Return what a heat map is of: its title, and what its colours mean. */
export function legendOf({ answer, model }) {
  const of = className(answer.heat_map_of ?? answer.label);
  return { title: `Heat map of ${model.name}: ${of}`, meaning: HEAT_LEGEND };
}

/** Return the corners of what a model sees, in pixels of the image as the file has it; null where it sees all. */
export function cropOf(answer, image) {
  if (!answer?.crop || !image) return null;
  const change = { rotate: 0, flip: false, ...answer.changed };
  const { width, height } = sizeOf(image, change);
  const [left, top, right, bottom] = answer.crop;
  if (left <= 0 && top <= 0 && right >= width && bottom >= height) return null;
  const corners = [[left, top], [right, top], [right, bottom], [left, bottom]];
  return corners.map(([x, y]) => asStored(image, change, { x, y }));
}
