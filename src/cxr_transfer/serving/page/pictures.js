// Pictures of images: as the server decoded them for the viewer, small ones for the list.
// The last few are kept, in memory.

import * as api from "./api.js";

const KEPT = 6;
const decoded = new Map(); // image -> promise of {picture, width, height}, the latest last
const under = new Map(); // image -> what cancels its request, while it is under way

/** Return an image as the server decoded it. */
export function pictureOf(image) {
  const coming = decoded.get(image) ?? asked(image);
  decoded.delete(image);
  decoded.set(image, coming);
  if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
  return coming;
}

function asked(image) {
  const cancel = new AbortController();
  const coming = api.image(image.file, cancel.signal);
  under.set(image, cancel);
  coming
    .catch(() => decoded.get(image) === coming && decoded.delete(image))
    .finally(() => under.get(image) === cancel && under.delete(image));
  return coming;
}

/** Cancel what is under way, but for one image: nobody looks at the others any more. */
export function cancelAllBut(image) {
  for (const [one, cancel] of under) {
    if (one === image) continue;
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
  if (coming) return coming.picture;
  // What the browser can read need not travel again.
  if (!/^image\/(png|jpeg)$/.test(image.file.type)) return (await api.image(image.file)).picture;
  return createImageBitmap(image.file, { resizeWidth: 160, resizeQuality: "high" });
}

/** Return the picture in a data URL of a PNG, or null. */
export async function overlayOf(url) {
  if (!url?.startsWith("data:image/png;base64,")) return null;
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}
