// Pictures of films: as the server decoded them for the viewer, small ones for the list.
// The last few are kept, in memory.

import * as api from "./api.js";

const KEPT = 6;
const decoded = new Map(); // film -> promise of {picture, width, height}, the latest last

/** Return a film as the server decoded it. */
export function pictureOf(film) {
  const coming = decoded.get(film) ?? api.film(film.file);
  decoded.delete(film);
  decoded.set(film, coming);
  coming.catch(() => decoded.delete(film));
  if (decoded.size > KEPT) decoded.delete(decoded.keys().next().value);
  return coming;
}

export function forget(film) {
  decoded.delete(film);
}

/** Return a small picture of a film that the server has found sound. */
export async function thumbnailOf(film) {
  if (decoded.has(film)) return (await decoded.get(film)).picture;
  // What the browser can read need not travel again.
  if (!/^image\/(png|jpeg)$/.test(film.file.type)) return (await api.film(film.file)).picture;
  return createImageBitmap(film.file, { resizeWidth: 160, resizeQuality: "high" });
}

/** Return the picture in a data URL of a PNG, or null. */
export async function overlayOf(url) {
  if (!url?.startsWith("data:image/png;base64,")) return null;
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}
