// How an image lies on a canvas: mirrored left to right first, then turned clockwise, then scaled.
// Knows numbers only. A matrix [a, b, c, d] takes (x, y) to (a x + c y, b x + d y), as a canvas has it.

const TURNS = { 0: [1, 0, 0, 1], 90: [0, 1, -1, 0], 180: [-1, 0, 0, -1], 270: [0, -1, 1, 0] };

/** Return the matrix of a view or a change: {rotate: 0 | 90 | 180 | 270, flip}. */
export function turned({ rotate, flip }) {
  const [a, b, c, d] = TURNS[rotate];
  return flip ? [-a, -b, c, d] : [a, b, c, d];
}

export const times = ([a, b, c, d], { x, y }) => ({ x: a * x + c * y, y: b * x + d * y });

/** Return the inverse: of a matrix of turns and mirrors, that is its transpose. */
export const inverse = ([a, b, c, d]) => [a, c, b, d];

/** Return the width and height that an image has once it is turned. */
export function sizeOf({ width, height }, { rotate }) {
  return rotate % 180 ? { width: height, height: width } : { width, height };
}

/**
 * Return how an image lies on a canvas: {matrix, origin, scale}.
 *
 * `view` is {x, y, rotate, flip}, whose x and y name the image's point in the middle of the canvas, in
 * shares of its width and height. The origin, where the image's corner (0, 0) lies, is a whole pixel:
 * so at one to one each pixel of the image is one of the canvas.
 */
export function placed(canvas, image, view, scale) {
  const matrix = turned(view);
  const aside = times(matrix, { x: view.x * image.width * scale, y: view.y * image.height * scale });
  const origin = { x: Math.round(canvas.width / 2 - aside.x), y: Math.round(canvas.height / 2 - aside.y) };
  return { matrix, origin, scale };
}

/** Return where a point of the image lies on the canvas. */
export function onCanvas({ matrix, origin, scale }, point) {
  const { x, y } = times(matrix, point);
  return { x: origin.x + scale * x, y: origin.y + scale * y };
}

/** Return which point of the image lies there on the canvas. */
export function onImage({ matrix, origin, scale }, point) {
  return times(inverse(matrix), { x: (point.x - origin.x) / scale, y: (point.y - origin.y) / scale });
}

/** Return a view that is mirrored left to right as it is seen, or top to bottom. */
export function mirrored({ rotate, flip }, { upsideDown = false } = {}) {
  return { rotate: (360 - rotate + (upsideDown ? 180 : 0)) % 360, flip: !flip };
}

/** Return where the corner of a changed image lies, {x, y}, before it is moved to (0, 0). */
export function cornerOf({ width, height }, change) {
  const ends = [{ x: width, y: height }, { x: width, y: 0 }, { x: 0, y: height }].map((end) => times(turned(change), end));
  return { x: Math.min(0, ...ends.map(({ x }) => x)), y: Math.min(0, ...ends.map(({ y }) => y)) };
}

/** Return which point of the image, as the file has it, a point of the changed image is. */
export function asStored(size, change, point) {
  const { x, y } = cornerOf(size, change);
  return times(inverse(turned(change)), { x: point.x + x, y: point.y + y });
}
