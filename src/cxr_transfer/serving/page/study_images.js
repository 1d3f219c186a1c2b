// The images of a study before it begins: which of them can be read, and which are copies.

import { shown } from "./elements.js";

const NAMED = 5; // files that are left out by name; the others are counted

/**
 * Return what a study is made of: {items, copies, unreadable}; throw where the server cannot tell.
 *
 * `images` may grow while they are prepared. `page` is {hash, isReadable}; `tell(done, of)` is called
 * before each image.
 */
export async function prepared(images, page, tell) {
  const items = new Map();
  const unreadable = [];
  let copies = 0;
  for (let at = 0; at < images.length; at += 1) {
    const image = images[at];
    tell(at + 1, images.length);
    await page.hash(image);
    const { sha256, path: file } = image;
    if (items.has(sha256)) copies += 1;
    else if (await page.isReadable(image)) items.set(sha256, { sha256, file, answer_seen_before: false });
    else unreadable.push(file);
  }
  if (items.size) return { items: [...items.values()], copies, unreadable };
  throw new Error(`None of these files can be read as an image: ${listed(unreadable)}.`);
}

/** Say what was left out of a study; "" for nothing. */
export function leftOutInWords({ copies, unreadable }) {
  // A copy's name is not told: it may say what an image of the study shows.
  const told = [
    unreadable.length ? `Left out, since they cannot be read as images: ${listed(unreadable)}.` : "",
    copies ? `Left out: ${copies} ${copies === 1 ? "copy" : "copies"} of other images.` : "",
  ];
  return told.filter(Boolean).join(" ");
}

function listed(files) {
  const rest = files.length - NAMED;
  return `${files.slice(0, NAMED).map(shown).join(", ")}${rest > 0 ? ` and ${rest} more` : ""}`;
}
