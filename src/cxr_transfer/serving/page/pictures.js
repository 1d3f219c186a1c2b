// Pictures of images: as the server decoded them for the viewer, small ones for the list.
// The last few are kept, in memory.

import * as api from "./api.js";

const KEPT = 6;
const decoded = new Map(); // image -> promise of {picture, width, height}, the latest last

/** Return an image as the server decoded it. */
export function pictureOf(image) {
  const coming = decoded.get(image) ?? api.image(image.file);
  decoded.delete(image);
  decoded.set(image, coming);
  coming.catch(() => decoded.delete(image));
  if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
  return coming;
}

export function forget(image) {
  decoded.delete(image);
}

/** Return a small picture of an image that the server has found sound. */
export async function thumbnailOf(image) {
  if (decoded.has(image)) return (await decoded.get(image)).picture;
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
