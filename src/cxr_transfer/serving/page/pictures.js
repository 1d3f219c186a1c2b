// Pictures of images: at full depth for the viewer, small ones for the list.
// The last few are kept, in memory.

import * as api from "./api.js";
import { presetsOf, wordsOf } from "./greys.js";
import { Samples } from "./samples.js";

const KEPT = 4;
const SMALL = 160; // pixels of a picture in the list, at least
const decoded = new Map(); // image -> promise of {facts, samples, width, height}, the latest last
const under = new Map(); // image -> what cancels its request, while it is under way

/** Return an image as the viewer shows it. */
export function pictureOf(image) {
  const coming = decoded.get(image) ?? asked(image);
  decoded.delete(image);
  decoded.set(image, coming);
  if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
  return coming;
}

function asked(image) {
  const cancel = new AbortController();
  const coming = opened(image.file, cancel.signal);
  under.set(image, cancel);
  coming
    .catch(() => decoded.get(image) === coming && decoded.delete(image))
    .finally(() => under.get(image) === cancel && under.delete(image));
  return coming;
}

async function opened(file, signal) {
  const facts = await api.facts(file, signal);
  const { width, height } = facts;
  const ask = (part, cancel) => api.samples(file, part, cancel);
  return { facts, width, height, samples: await Samples.of(facts, ask, signal) };
}

/** Cancel what is under way, but for some images: nobody looks at the others any more. */
export function cancelAllBut(...images) {
  for (const [one, cancel] of under) {
    if (images.includes(one)) continue;
    cancel.abort();
    under.delete(one);
    decoded.delete(one);
  }
}

export function forget(image) {
  decoded.delete(image);
}

/** Return a small picture of an image that the server has found sound. */
export async function thumbnailOf(image) {
  const coming = await decoded.get(image)?.catch(() => null); // It may have been cancelled.
  if (coming) return smallOf(coming);
  // What the browser can read need not travel again.
  if (/^image\/(png|jpeg)$/.test(image.file.type)) {
    return createImageBitmap(image.file, { resizeWidth: SMALL, resizeQuality: "high" });
  }
  const facts = await api.facts(image.file);
  const scale = Math.max(1, Math.floor(Math.min(facts.width, facts.height) / SMALL));
  const [columns, rows] = [facts.width, facts.height].map((side) => Math.ceil(side / scale));
  return drawn(facts, { data: await api.samples(image.file, { scale }), columns, rows });
}

/** Return a small picture of an image that was opened, as it is assessed. */
export function smallOf({ facts, samples, width, height }) {
  return drawn(facts, samples.whole(Math.min(width, height) / SMALL));
}

function drawn(facts, { data, columns, rows }) {
  const [{ function: kind, centre, width, table }] = presetsOf(facts);
  const words = wordsOf(facts, { function: kind, level: centre, window: width, table, invert: false });
  const picture = new ImageData(columns, rows);
  new Uint32Array(picture.data.buffer).forEach((_, at, shown) => (shown[at] = words[data[at]]));
  const canvas = new OffscreenCanvas(columns, rows);
  canvas.getContext("2d").putImageData(picture, 0, 0);
  return canvas;
}

/** Return the picture in a data URL of a PNG, or null. */
export async function overlayOf(url) {
  if (!url?.startsWith("data:image/png;base64,")) return null;
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}
