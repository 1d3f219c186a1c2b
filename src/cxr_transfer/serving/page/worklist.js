// The list of films: a listbox with a picture, a name and a state for each.
// Knows nothing of answers but the few words that it is given.

import { element, shown } from "./elements.js";

const THUMB = 96; // device pixels

export class Worklist {
  #list;
  #rows = new Map();
  #order = [];
  #selected = null;
  #seen;

  /** `select(film)` and `remove(film)` are a person's wishes; `appear(film)` asks for its picture. */
  constructor(list, { select, remove, appear }) {
    this.#list = list;
    this.#seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) appear(this.#filmOf(target));
      }
    });
    list.addEventListener("click", (event) => {
      const film = this.#filmOf(event.target.closest("[role=option]"));
      if (film) select(film);
    });
    list.addEventListener("keydown", (event) => {
      const film = this.beside(
        { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1, PageDown: 8, PageUp: -8, Home: -Infinity, End: Infinity }[event.key],
      );
      if (film) {
        event.preventDefault();
        select(film);
      } else if (event.key === "Delete" && this.#selected) {
        event.preventDefault();
        remove(this.#selected);
      }
    });
  }

  /** Return the film that many places below the selected one, at most the last. */
  beside(steps) {
    if (!steps || !this.#order.length) return null;
    const from = this.#order.indexOf(this.#selected);
    return this.#order[Math.min(this.#order.length - 1, Math.max(0, from + steps))];
  }

  add(film) {
    const slash = film.path.lastIndexOf("/");
    const row = element(
      "div",
      { role: "option", id: `film-${film.id}`, class: "film", "aria-selected": "false" },
      element("canvas", { class: "thumb", width: THUMB, height: THUMB, "aria-hidden": "true" }),
      element(
        "span",
        { class: "film-text" },
        element("bdi", { class: "film-name", text: shown(film.path.slice(slash + 1)), title: shown(film.path) }),
        slash > 0 ? element("bdi", { class: "film-folder", text: shown(film.path.slice(0, slash)) }) : null,
        element("span", { class: "film-state" }),
      ),
    );
    this.#rows.set(film, row);
    this.#order.push(film);
    this.#list.append(row);
    this.#list.hidden = false;
  }

  remove(film) {
    const row = this.#rows.get(film);
    this.#seen.unobserve(row);
    row.remove();
    this.#rows.delete(film);
    this.#order.splice(this.#order.indexOf(film), 1);
    if (this.#selected === film) this.#selected = null;
    this.#list.hidden = !this.#order.length;
  }

  select(film) {
    this.#rows.get(this.#selected)?.setAttribute("aria-selected", "false");
    this.#selected = film;
    const row = this.#rows.get(film);
    if (!row) {
      this.#list.removeAttribute("aria-activedescendant");
      return;
    }
    row.setAttribute("aria-selected", "true");
    this.#list.setAttribute("aria-activedescendant", row.id);
    row.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Say where a film stands: {kind, text}. */
  state(film, { kind, text }) {
    const row = this.#rows.get(film);
    if (!row) return;
    row.dataset.kind = kind;
    row.querySelector(".film-state").textContent = text;
  }

  /** Begin to watch whether a film's row can be seen: from now on it may have a picture. */
  mayAppear(film) {
    const row = this.#rows.get(film);
    if (row && !row.dataset.drawn) this.#seen.observe(row);
  }

  /** Draw a film's picture. */
  draw(film, picture) {
    const row = this.#rows.get(film);
    if (!row || row.dataset.drawn) return;
    row.dataset.drawn = "yes";
    this.#seen.unobserve(row);
    const context = row.querySelector("canvas").getContext("2d");
    const scale = Math.max(THUMB / picture.width, THUMB / picture.height);
    const [width, height] = [picture.width * scale, picture.height * scale];
    context.imageSmoothingQuality = "high";
    context.drawImage(picture, (THUMB - width) / 2, (THUMB - height) / 2, width, height);
  }

  #filmOf(row) {
    for (const [film, one] of this.#rows) if (one === row) return film;
    return null;
  }
}
