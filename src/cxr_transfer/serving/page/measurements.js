// What is measured on an image: lengths, angles, the cardiothoracic ratio. Numbers and words only.
// Points are {x, y} in pixels of the image, so that they stay where they are whatever the view does.

import { ratioLimit, spacingOf } from "./image_facts.js";
import { RATIO, SPACINGS } from "./words.js";

/** How many points each kind has, and what each is called. */
export const KINDS = {
  length: { name: "Length", points: ["first end", "second end"] },
  angle: { name: "Angle", points: ["first arm", "vertex", "second arm"] },
  ratio: {
    name: RATIO.name,
    points: ["right border of the heart", "left border of the heart", "right inner border of the thorax", "left inner border of the thorax"],
  },
};

// In mm where a pixel's size is known; a pixel of unknown size is taken to be square.
const scaled = ({ x, y }, spacing) => (spacing ? { x: x * spacing.across, y: y * spacing.down } : { x, y });

function between(a, b, spacing) {
  const [from, to] = [scaled(a, spacing), scaled(b, spacing)];
  return { x: to.x - from.x, y: to.y - from.y };
}

const norm = ({ x, y }) => Math.hypot(x, y);

/** Return the distance of two points, in mm or, without a spacing, in pixels. */
export function lengthOf([a, b], spacing) {
  return norm(between(a, b, spacing));
}

/** Return the angle at the second of three points, in degrees from 0 to 180. */
export function angleOf([a, vertex, b], spacing) {
  const [one, other] = [between(vertex, a, spacing), between(vertex, b, spacing)];
  const size = norm(one) * norm(other);
  if (!size) return null;
  const cosine = (one.x * other.x + one.y * other.y) / size;
  return (180 / Math.PI) * Math.acos(Math.min(1, Math.max(-1, cosine)));
}

/**
 * Return {heart, thorax, ratio} of four points: borders of the heart, inner borders of the thorax. No ratio, null,
 * where the heart is not narrower than the thorax: they were taken one for the other.
 *
 * The heart's width is taken along the line of the thorax: its outermost borders lie at different heights.
 */
export function ratioOf([right, left, innerRight, innerLeft], spacing) {
  const [across, inner] = [between(right, left, spacing), between(innerRight, innerLeft, spacing)];
  const thorax = norm(inner);
  const heart = thorax ? Math.abs(across.x * inner.x + across.y * inner.y) / thorax : norm(across);
  return { heart, thorax, ratio: heart < thorax ? heart / thorax : null };
}

function distance(value, spacing) {
  if (!spacing) return `${value.toFixed(value < 10 ? 1 : 0)} pixels`;
  return `${value.toFixed(1)} mm`;
}

/**
 * Return what is said of a measurement: {short, long, warning}, of which `short` stands on the image.
 *
 * `header` and `image` tell how large a pixel is and which view it is; both may be null.
 */
export function said({ kind, points }, header, image) {
  const spacing = spacingOf(image);
  const source = spacing ? SPACINGS[spacing.source] : "the size of a pixel is not known";
  if (kind === "length") {
    const short = distance(lengthOf(points, spacing), spacing);
    return { short, long: `${short} (${source})`, warning: "" };
  }
  if (kind === "angle") {
    const angle = angleOf(points, spacing);
    const short = angle === null ? "no angle" : `${angle.toFixed(1)}°`;
    return { short, long: short, warning: "" };
  }
  const { heart, thorax, ratio } = ratioOf(points, spacing);
  const widths = `heart ${distance(heart, spacing)}, thorax ${distance(thorax, spacing)}`;
  if (ratio === null) return { short: "no CTR", long: `no ratio (${widths}).`, warning: RATIO.swapped };
  const short = ratio.toFixed(2);
  return { short: `CTR ${short}`, long: `${short} (${widths}). ${RATIO.definition}`, warning: RATIO.limits[ratioLimit(header, image)] ?? "" };
}

/** Return lines between points, each a pair, and the point beside which the text stands. */
export function linesOf({ kind, points }) {
  const lines = [];
  if (kind === "angle") for (let at = 1; at < points.length; at += 1) lines.push([points[at - 1], points[at]]);
  else for (let at = 1; at < points.length; at += 2) lines.push([points[at - 1], points[at]]);
  return { lines, at: points.at(kind === "angle" ? 1 : -1) };
}

const STEPS_MM = [100, 50, 20, 10, 5, 2, 1, 0.5];

/** Return the longest scale bar, {mm, pixels}, that is not longer than so many pixels of the image. */
export function scaleBar(mmPerPixel, mostPixels) {
  const mm = STEPS_MM.find((step) => step / mmPerPixel <= mostPixels);
  return mm ? { mm, pixels: mm / mmPerPixel } : null;
}
