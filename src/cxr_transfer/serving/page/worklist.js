// The list of images: a listbox with a picture, a name and a state for each.
// Knows nothing of answers but the few words that it is given.

import { element, shown } from "./elements.js";

const THUMB = 96; // device pixels
const END = 10; // characters of a name's end that are always shown: numbers stand there
const SORTED = {
  added: () => 0, // rows stand in that order
  name: (a, b) => a.path.localeCompare(b.path, undefined, { numeric: true }) || a.id - b.id,
};

/** Return a name in two parts, of which the first may be cut off on the screen. */
function inTwo(name) {
  const characters = [...name];
  const cut = characters.length > END ? characters.length - END : characters.length;
  return [
    element("span", { class: "image-start", text: characters.slice(0, cut).join("") }),
    cut < characters.length ? element("span", { text: characters.slice(cut).join("") }) : null,
  ];
}

export class Worklist {
  #list;
  #rows = new Map();
  #order = []; // what is shown, from top to bottom
  #ranks = new Map(); // image -> {score, words}: what it is sorted and found by
  #find = "";
  #only = "";
  #sort = "added";
  #due = false;
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
    const from = this.#order.indexOf(this.#selected); // -1 where it is not shown: the first follows
    return this.#order[Math.min(this.#order.length - 1, Math.max(0, from + steps))];
  }

  add(image) {
    const path = image.alias ?? image.path; // by another name while it is read blinded
    const slash = path.lastIndexOf("/");
    const row = element(
      "div",
      { role: "option", id: `image-${image.id}`, class: "image", "aria-selected": "false" },
      element("canvas", { class: "thumb", width: THUMB, height: THUMB, "aria-hidden": "true" }),
      element(
        "span",
        { class: "image-text" },
        element("bdi", { class: "image-name", title: shown(path) }, ...inTwo(shown(path.slice(slash + 1)))),
        slash > 0 ? element("bdi", { class: "image-folder", text: shown(path.slice(0, slash)) }) : null,
        element("span", { class: "image-state" }),
        element("span", { class: "image-copy", hidden: "" }),
      ),
    );
    this.#rows.set(image, row);
    this.#order.push(image);
    this.#list.append(row);
    this.#list.hidden = false;
    this.#arrangeSoon();
  }

  /**
   * Show only images whose name, folder or state holds some text, and of one class or state, in an order:
   * "added", "name" or "score".
   */
  arrange({ find = this.#find, sort = this.#sort, only = this.#only }) {
    this.#find = find.trim().toLowerCase();
    this.#only = only;
    this.#sort = sort;
    this.#arrange();
  }

  get shown() {
    return this.#order.length;
  }

  #arrangeSoon() {
    if (this.#due || (!this.#find && !this.#only && this.#sort === "added")) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#arrange();
    });
  }

  #arrange() {
    const score = (image) => this.#ranks.get(image)?.score ?? -1;
    const by = SORTED[this.#sort] ?? ((a, b) => score(b) - score(a) || a.id - b.id);
    const holds = (image) => `${image.path} ${this.#ranks.get(image)?.words ?? ""}`.toLowerCase().includes(this.#find);
    const isOf = (image) => !this.#only || this.#ranks.get(image)?.only?.includes(this.#only);
    this.#order = [...this.#rows.keys()].filter((image) => holds(image) && isOf(image)).sort(by);
    const visible = new Set(this.#order);
    for (const [image, row] of this.#rows) row.hidden = !visible.has(image);
    this.#list.append(...this.#order.map((image) => this.#rows.get(image)));
    this.#rows.get(this.#selected)?.scrollIntoView({ block: "nearest" });
  }

  remove(image) {
    const row = this.#rows.get(image);
    this.#seen.unobserve(row);
    row.remove();
    this.#rows.delete(image);
    this.#ranks.delete(image);
    this.#order = this.#order.filter((one) => one !== image);
    if (this.#selected === image) this.#selected = null;
    this.#list.hidden = !this.#rows.size;
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

  /** Say of some images which other one has the same bytes. */
  markCopies(copies) {
    for (const [image, row] of this.#rows) {
      const same = copies.get(image);
      const mark = row.querySelector(".image-copy");
      mark.hidden = !same;
      const text = same ? `same as ${shown(same.path)}` : "";
      if (mark.textContent !== text) mark.textContent = text;
    }
  }

  /** Say where an image stands: {kind, text}, its highest score to sort by, and what it may be chosen by. */
  state(image, { kind, text, score, only }) {
    const row = this.#rows.get(image);
    if (!row) return;
    this.#ranks.set(image, { score, words: text, only });
    this.#arrangeSoon();
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
