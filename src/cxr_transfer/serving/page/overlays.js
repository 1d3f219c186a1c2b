// What lies over an image: whose it is, what is measured, how long a centimetre is, what a heat map's
// colours mean, which part the model sees. And, beside it, the facts and measurements as lists.

import { element } from "./elements.js";
import { factsOf, patientLines, spacingOf } from "./image_facts.js";
import { cropOf, drawColours, legendOf } from "./legend.js";
import { KINDS, said, scaleBar } from "./measurements.js";
import { Measuring } from "./measuring.js";

const SPACE = "http://www.w3.org/2000/svg";
const BAR_SHARE = 0.25; // of a pane's width, which the scale bar has at most
const $ = (id) => document.getElementById(id);

export class Overlays {
  #viewer;
  #say;
  #measuring;
  #panes = []; // what each pane shows: {image, decoded, header, answer, model}
  #outlines;
  #listed = "";

  /** `say(text)` has a text read aloud. */
  constructor(viewer, stage, say) {
    this.#viewer = viewer;
    this.#say = say;
    this.#outlines = viewer.panes.map(({ figure }) => {
      const svg = document.createElementNS(SPACE, "svg");
      svg.setAttribute("class", "outline");
      svg.append(document.createElementNS(SPACE, "polygon"));
      figure.append(svg);
      return svg.firstChild;
    });
    this.#measuring = new Measuring(viewer, stage, { say, changed: () => this.#list() });
    const canvas = $("legend-colours");
    drawColours(canvas.getContext("2d"), 0, 0, canvas.width, canvas.height);
    viewer.onPaint((pane) => this.#paint(viewer.panes.indexOf(pane)));
    $("overlays").addEventListener("click", () => this.toggle());
    for (const button of document.querySelectorAll("[data-measure]")) {
      button.addEventListener("click", () => this.measure(button.dataset.measure));
    }
  }

  /** Show what is over each pane: [{image, decoded, header, answer, model}], one or two of them. */
  show(panes) {
    this.#panes = panes;
    const [first] = panes;
    $("corner-patient").textContent = patientLines(first?.header).join("\n");
    this.#measuring.show(
      panes.map(({ image, header, decoded }) => ({
        items: image ? (image.measurements ??= []) : [],
        describe: (item) => said(item, header, decoded),
      })),
    );
    this.#list();
    panes.forEach((_, place) => this.#paint(place));
  }

  get isOn() {
    return document.body.dataset.overlays !== "off";
  }

  /** Hide all that lies over the image, or show it again; it stays so from image to image. */
  toggle() {
    document.body.dataset.overlays = this.isOn ? "off" : "on";
    $("overlays").setAttribute("aria-pressed", String(this.isOn));
    this.#say(this.isOn ? "Texts and measurements are shown." : "Texts and measurements are hidden.");
  }

  /** Show which tool is on. */
  showTool(tool) {
    for (const button of document.querySelectorAll("[data-measure]")) {
      button.setAttribute("aria-pressed", String(button.dataset.measure === tool));
    }
  }

  /** Begin to measure. */
  measure(kind) {
    $("measure-menu").open = false;
    if (!this.isOn) this.toggle();
    this.#measuring.start(kind);
    $("stage").focus({ preventScroll: true });
  }

  /** Return for a saved picture what is drawn over each pane: {lines, texts}, in CSS pixels of the pane. */
  drawn(place) {
    const pane = this.#viewer.panes[place];
    const { answer, decoded } = this.#panes[place] ?? {};
    const crop = this.#viewer.heat.on && answer?.heat_map ? cropOf(answer, decoded) : null;
    return { crop: crop?.map((point) => this.#viewer.toScreen(pane, point)) ?? null, ...this.#measuring.drawn(place) };
  }

  /** What the measurements on the first image mean, a line each. */
  get notes() {
    if (!this.isOn) return [];
    return this.#measured().map(({ item, long, warning }) => [`${KINDS[item.kind].name}: ${long}.`, warning].filter(Boolean).join(" ").replace("..", "."));
  }

  #measured() {
    const { image, decoded, header } = this.#panes[0] ?? {};
    const whole = (image?.measurements ?? []).filter(({ isDraft }) => !isDraft);
    return whole.map((item) => ({ item, ...said(item, header, decoded) }));
  }

  /** Return what each pane shows. */
  get panes() {
    return this.#panes;
  }

  #paint(place) {
    const { decoded, answer } = this.#panes[place] ?? {};
    const pane = this.#viewer.panes[place];
    const isMapped = Boolean(this.#viewer.image && this.#viewer.heat.on && answer?.heat_map);
    const crop = isMapped ? cropOf(answer, decoded) : null;
    const corners = (crop ?? []).map((point) => this.#viewer.toScreen(pane, point));
    this.#outlines[place].parentNode.setAttribute("viewBox", `0 0 ${pane.figure.clientWidth} ${pane.figure.clientHeight}`);
    this.#outlines[place].setAttribute("points", corners.map(({ x, y }) => `${x},${y}`).join(" "));
    if (place > 0) return;
    this.#paintScale(pane);
    $("legend").hidden = !isMapped;
    if (!isMapped) return;
    const { title, meaning } = legendOf(this.#panes[0]);
    $("legend").title = `${title}. ${meaning}`;
    $("legend-words").textContent = `${meaning}${crop ? " The dashed outline is the part of the image that the model sees." : ""}`;
  }

  #paintScale(pane) {
    const { decoded } = this.#panes[0] ?? {};
    const spacing = this.#viewer.image && decoded ? spacingOf(decoded) : null;
    $("scale").hidden = !spacing;
    if (!spacing) return;
    const screen = (x) => this.#viewer.toScreen(pane, { x, y: 0 });
    const [a, b] = [screen(0), screen(1)];
    const perPixel = Math.hypot(b.x - a.x, b.y - a.y); // CSS pixels of one image pixel
    const bar = scaleBar(spacing.across, (BAR_SHARE * pane.figure.clientWidth) / perPixel);
    $("scale").hidden = !bar;
    if (!bar) return;
    $("scale").style.inlineSize = `${bar.pixels * perPixel}px`;
    $("scale").textContent = `${bar.mm} mm${spacing.source === "calibrated" ? "" : " *"}`;
    $("scale").title = spacing.source === "calibrated" ? "" : "Not corrected for magnification, see the facts of the image";
  }

  #list() {
    const { image, decoded, header } = this.#panes[0] ?? {};
    const facts = image ? factsOf(header, decoded) : [];
    const measured = this.#measured();
    const state = JSON.stringify([image?.id, facts, measured]);
    if (state === this.#listed) return;
    this.#listed = state;
    const held = $("measured").contains(document.activeElement);
    $("image-facts").hidden = !facts.length;
    $("facts-list").replaceChildren(
      ...facts.map(([name, value]) => element("div", {}, element("dt", { text: name }), element("dd", { text: value }))),
    );
    $("measured").hidden = !measured.length;
    $("measured-list").replaceChildren(...measured.map((one) => this.#row(one)));
    if (held) ($("measured-list").querySelector("button") ?? $("results")).focus({ preventScroll: true });
  }

  #row({ item, long, warning }) {
    const { name } = KINDS[item.kind];
    const away = element("button", { type: "button", class: "button small", text: "Delete", "aria-label": `Delete: ${name} ${long}` });
    away.addEventListener("click", () => this.#measuring.remove(item));
    return element(
      "li",
      {},
      element("span", {}, element("strong", { text: name }), ` ${long}`, warning ? element("em", { class: "caution", text: ` ${warning}` }) : null),
      away,
    );
  }
}
