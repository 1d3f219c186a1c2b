// Beside the image, as lists: what is measured on it and on the one next to it, and the facts of the image.

import { element } from "./elements.js";
import { factsOf } from "./image_facts.js";
import { KINDS } from "./measurements.js";

const $ = (id) => document.getElementById(id);

/** The measurements of one stage; each can be deleted. */
export class MeasuredList {
  #section;
  #overlays;
  #listed = "";

  /** `section` has a heading and a list, and is hidden while nothing is measured. */
  constructor(section, overlays) {
    this.#section = section;
    this.#overlays = overlays;
  }

  show() {
    const { measured, panes } = this.#overlays;
    const state = JSON.stringify([panes[0]?.image?.id, measured]);
    if (state === this.#listed) return;
    this.#listed = state;
    const held = this.#section.contains(document.activeElement);
    const list = this.#section.querySelector("ul");
    this.#section.hidden = !measured.length;
    list.replaceChildren(...measured.map((one) => this.#row(one)));
    if (held) (list.querySelector("button") ?? $("results")).focus({ preventScroll: true });
  }

  #row({ item, long, warning }) {
    const { name } = KINDS[item.kind];
    const away = element("button", { type: "button", class: "button small", text: "Delete", "aria-label": `Delete: ${name} ${long}` });
    away.addEventListener("click", () => this.#overlays.remove(item));
    return element(
      "li",
      {},
      element("span", {}, element("strong", { text: name }), ` ${long}`, warning ? element("em", { class: "caution", text: ` ${warning}` }) : null),
      away,
    );
  }
}

let listed = "";

/** Show the facts of an image; `pane` is {image, header, decoded}, or nothing. */
export function showFacts({ image, header, decoded } = {}) {
  const facts = image ? factsOf(header, decoded) : [];
  const state = JSON.stringify([image?.id, facts]);
  if (state === listed) return;
  listed = state;
  $("image-facts").hidden = !facts.length;
  $("facts-list").replaceChildren(
    ...facts.map(([name, value]) => element("div", {}, element("dt", { text: name }), element("dd", { text: value }))),
  );
}

/** Let the buttons measure and hide; `measure(kind)` begins, `toggle()` hides or shows what lies over the images. */
export function listenToMeasures(measure, toggle) {
  $("overlays").addEventListener("click", toggle);
  for (const button of document.querySelectorAll("[data-measure]")) {
    button.addEventListener("click", () => measure(button.dataset.measure));
  }
}

/** Show which measurement is being made. */
export function showMeasure(tool) {
  for (const button of document.querySelectorAll("[data-measure]")) {
    button.setAttribute("aria-pressed", String(button.dataset.measure === tool));
  }
  const { name } = KINDS[tool] ?? {};
  // The menu is closed while it is measured: what is on is said of it.
  const summary = $("measure-menu").querySelector("summary");
  summary.setAttribute("aria-label", name ? `Measure: ${name} is on` : "Measure");
  summary.title = summary.getAttribute("aria-label");
}
