// The list of images: a listbox with a picture, a name and a state for each.
// Knows nothing of answers but the few words that it is given.

import { element, shown } from "./elements.js";

const THUMB = 96; // device pixels

export class Worklist {
  #list;
  #rows = new Map();
  #order = [];
  #selected = null;
  #seen;

  /** `select(image)` and `remove(image)` are a person's wishes; `appear(image)` asks for its picture. */
  constructor(list, { select, remove, appear }) {
    this.#list = list;
    this.#seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) appear(this.#imageOf(target));
      }
    });
    list.addEventListener("click", (event) => {
      const image = this.#imageOf(event.target.closest("[role=option]"));
      if (image) select(image);
    });
    list.addEventListener("keydown", (event) => {
      const image = this.beside(
        { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity }[event.key],
      );
      if (image) {
        event.preventDefault();
        select(image);
      } else if (event.key === "Delete" && this.#selected) {
        event.preventDefault();
        remove(this.#selected);
      }
    });
  }

  /** Return the image that many places below the selected one, at most the last. */
  beside(steps) {
    if (!steps || !this.#order.length) return null;
    const from = this.#order.indexOf(this.#selected);
    return this.#order[Math.min(this.#order.length - 1, Math.max(0, from + steps))];
  }

  add(image) {
    const slash = image.path.lastIndexOf("/");
    const row = element(
      "div",
      { role: "option", id: `image-${image.id}`, class: "image", "aria-selected": "false" },
      element("canvas", { class: "thumb", width: THUMB, height: THUMB, "aria-hidden": "true" }),
      element(
        "span",
        { class: "image-text" },
        element("bdi", { class: "image-name", text: shown(image.path.slice(slash + 1)), title: shown(image.path) }),
        slash > 0 ? element("bdi", { class: "image-folder", text: shown(image.path.slice(0, slash)) }) : null,
        element("span", { class: "image-state" }),
      ),
    );
    this.#rows.set(image, row);
    this.#order.push(image);
    this.#list.append(row);
    this.#list.hidden = false;
  }

  remove(image) {
    const row = this.#rows.get(image);
    this.#seen.unobserve(row);
    row.remove();
    this.#rows.delete(image);
    this.#order.splice(this.#order.indexOf(image), 1);
    if (this.#selected === image) this.#selected = null;
    this.#list.hidden = !this.#order.length;
  }

  select(image) {
    this.#rows.get(this.#selected)?.setAttribute("aria-selected", "false");
    this.#selected = image;
    const row = this.#rows.get(image);
    if (!row) {
      this.#list.removeAttribute("aria-activedescendant");
      return;
    }
    row.setAttribute("aria-selected", "true");
    this.#list.setAttribute("aria-activedescendant", row.id);
    row.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Say where an image stands: {kind, text}. */
  state(image, { kind, text }) {
    const row = this.#rows.get(image);
    if (!row) return;
    row.dataset.kind = kind;
    row.querySelector(".image-state").textContent = text;
  }

  /** Begin to watch whether an image's row can be seen: from now on it may have a picture. */
  mayAppear(image) {
    const row = this.#rows.get(image);
    if (row && !row.dataset.drawn) this.#seen.observe(row);
  }

  /** Draw an image's picture. */
  draw(image, picture) {
    const row = this.#rows.get(image);
    if (!row || row.dataset.drawn) return;
    row.dataset.drawn = "yes";
    this.#seen.unobserve(row);
    const context = row.querySelector("canvas").getContext("2d");
    const scale = Math.max(THUMB / picture.width, THUMB / picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, (THUMB - width) / 2, (THUMB - height) / 2, width, height);
  }

  #imageOf(row) {
    for (const [image, one] of this.#rows) if (one === row) return image;
    return null;
  }
}
