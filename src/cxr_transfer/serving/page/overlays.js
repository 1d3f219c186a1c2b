// What lies over an image: whose it is, what is measured, how long a centimetre is, what a heat map's
// colours mean, which part the model sees. One for each stage; what is listed of them stands elsewhere.

import { patientLines, spacingOf } from "./image_facts.js";
import { cropOf, drawColours, legendOf } from "./legend.js";
import { KINDS, said, scaleBar } from "./measurements.js";
import { Measuring } from "./measuring.js";

const SPACE = "http://www.w3.org/2000/svg";
const BAR_SHARE = 0.25; // of a pane's width, which the scale bar has at most

/** Tell whether what lies over the images is shown; it is so for all of them. */
export const areShown = () => document.body.dataset.overlays !== "off";

/** Hide all that lies over the images, or show it again; it stays so from image to image. */
export function showAll(isOn) {
  document.body.dataset.overlays = isOn ? "on" : "off";
  document.getElementById("overlays").setAttribute("aria-pressed", String(isOn));
}

export class Overlays {
  #viewer;
  #stage;
  #parts;
  #acts;
  #measuring;
  #panes = []; // what each pane shows: {image, decoded, header, answer, model}
  #outlines;

  /**
   * `parts` are elements of the stage, {patient, legend, scale}; `acts` are {say(text), changed()}: what
   * is to be read aloud, and what is called after a measurement was changed.
   */
  constructor(viewer, stage, parts, acts) {
    this.#viewer = viewer;
    this.#stage = stage;
    this.#parts = parts;
    this.#acts = acts;
    this.#outlines = viewer.panes.map(({ figure }) => {
      const svg = document.createElementNS(SPACE, "svg");
      svg.setAttribute("class", "outline");
      svg.append(document.createElementNS(SPACE, "polygon"));
      figure.append(svg);
      return svg.firstChild;
    });
    this.#measuring = new Measuring(viewer, stage, acts);
    const canvas = parts.legend.querySelector("canvas");
    drawColours(canvas.getContext("2d"), 0, 0, canvas.width, canvas.height);
    viewer.onPaint((pane) => this.#paint(viewer.panes.indexOf(pane)));
  }

  /** Show what is over each pane: [{image, decoded, header, answer, model}], one or two of them. */
  show(panes) {
    this.#panes = panes;
    const [first] = panes;
    this.#parts.patient.textContent = patientLines(first?.header).join("\n");
    this.#measuring.show(
      panes.map(({ image, header, decoded }) => ({
        items: image ? (image.measurements ??= []) : [],
        describe: (item) => said(item, header, decoded),
      })),
    );
    panes.forEach((_, place) => this.#paint(place));
  }

  /** Draw the measurements anew: the same image may be in the other stage, and be measured there. */
  draw() {
    this.#measuring.draw();
  }

  /** Begin to measure, or end it. */
  measure(kind) {
    this.#measuring.start(kind);
    this.#stage.focus({ preventScroll: true });
  }

  /** Take a measurement away. */
  remove(item) {
    this.#measuring.remove(item);
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
    if (!areShown()) return [];
    return this.measured.map(({ item, long, warning }) => [`${KINDS[item.kind].name}: ${long}.`, warning].filter(Boolean).join(" ").replace("..", "."));
  }

  /** The measurements on the first image with what is said of each: [{item, short, long, warning}]. */
  get measured() {
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
    const { legend } = this.#parts;
    legend.hidden = !isMapped;
    if (!isMapped) return;
    const { title, meaning } = legendOf(this.#panes[0]);
    legend.title = `${title}. ${meaning}`;
    legend.querySelector("p").textContent = `${title}. ${meaning}${crop ? " The dashed outline is the part of the image that the model sees." : ""}`;
  }

  #paintScale(pane) {
    const { scale } = this.#parts;
    const { decoded } = this.#panes[0] ?? {};
    const spacing = this.#viewer.image && decoded ? spacingOf(decoded) : null;
    scale.hidden = !spacing;
    if (!spacing) return;
    const screen = (x) => this.#viewer.toScreen(pane, { x, y: 0 });
    const [a, b] = [screen(0), screen(1)];
    const perPixel = Math.hypot(b.x - a.x, b.y - a.y); // CSS pixels of one image pixel
    const bar = scaleBar(spacing.across, (BAR_SHARE * pane.figure.clientWidth) / perPixel);
    scale.hidden = !bar;
    if (!bar) return;
    scale.style.inlineSize = `${bar.pixels * perPixel}px`;
    scale.textContent = `${bar.mm} mm${spacing.source === "calibrated" ? "" : " *"}`;
    scale.title = spacing.source === "calibrated" ? "" : "Not corrected for magnification, see the facts of the image";
  }
}
