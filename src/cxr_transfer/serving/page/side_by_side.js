// A second image beside the first, say a prior one: moved, zoomed and windowed together with it, or by itself.
// Knows viewers and images; what is asked of them it leaves to others.

import { headerOf } from "./dicom_header.js";
import { element, shown } from "./elements.js";
import { MeasuredList } from "./measured.js";
import { Overlays } from "./overlays.js";
import { pictureOf } from "./pictures.js";
import { greysInWords, sayView } from "./view_controls.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);

export class SideBySide {
  #first;
  #second;
  #acts;
  #leads; // the viewer that was touched last: the other one follows it
  #isLinked = true;
  #overlays;
  #measured;
  #image = null;

  /**
   * `acts` are {images(), lookedAt(image), answerOf(image), heatMessage(image), changed(), say(text)}: what there
   * is, that an image is looked at now, its {overlay, answer, model}, why it has no heat map, what is called after
   * a measurement was changed, and what a reader is told.
   */
  constructor(first, acts) {
    this.#first = first;
    this.#acts = acts;
    this.#second = new Viewer($("stage-beside"), (viewer) => this.#changed(viewer));
    const parts = { patient: $("beside-patient"), legend: $("beside-legend"), scale: $("beside-scale") };
    this.#overlays = new Overlays(this.#second, $("stage-beside"), parts, { say: acts.say, changed: () => acts.changed() });
    this.#measured = new MeasuredList($("measured-beside"), this.#overlays);
    this.#leads = first;
    for (const [id, viewer] of [["stage", first], ["toolbar", first], ["toolbar-second", first], ["stage-beside", this.#second]]) {
      for (const kind of ["pointerdown", "wheel", "focusin"]) {
        $(id).addEventListener(kind, () => (this.#leads = viewer), { capture: true, passive: true });
      }
    }
    $("beside").addEventListener("change", () => this.open(acts.images().find(({ id }) => String(id) === $("beside").value) ?? null));
    $("linked").addEventListener("click", () => this.link());
    this.list();
  }

  /** The image that is beside the selected one, or null. */
  get image() {
    return this.#image;
  }

  /** The viewer that keys act on: the one that was touched last. */
  get active() {
    return this.#image ? this.#leads : this.#first;
  }

  /** Show an image beside the selected one; null closes it. */
  async open(image) {
    this.#image = image;
    this.#leads = this.#first;
    $("stage-beside").hidden = !image;
    $("linked").hidden = !image;
    this.#second.show(null, {});
    this.list();
    $("beside-name").textContent = image ? shown(image.file.name) : "";
    this.#overlays.show([]);
    this.showMeasured();
    this.#message("");
    if (!image) return;
    try {
      image.reading ??= headerOf(image.file).then((header) => (image.header = header));
      const decoded = await pictureOf(image);
      await image.reading;
      if (image !== this.#image) return;
      image.decoded = { width: decoded.width, height: decoded.height, facts: decoded.facts };
      // A view of its own, so that the image is as it was left where it is looked at by itself.
      this.#second.show(decoded, { ...image.view, window: null });
      this.#second.setTool(this.#first.tool);
      this.#acts.lookedAt(image);
      this.showHeat();
      if (this.#isLinked) this.#second.follow(this.#first);
      this.#acts.say(`${shown(image.file.name)} is beside the image.`);
    } catch (error) {
      if (image === this.#image) this.#message(error.message);
    }
  }

  /** Lay its heat map over the second image, where there is one, as over the first; say why there is none. */
  showHeat() {
    const image = this.#image;
    if (!image || !this.#second.image) return;
    const { overlay, answer, model } = this.#acts.answerOf(image);
    this.#second.layers([{ overlay, changed: answer?.changed }]);
    this.#second.setHeat({ ...this.#first.heat });
    const { decoded, header } = image;
    this.#overlays.show([{ image, decoded, header, answer: overlay ? answer : undefined, model }]);
    this.showMeasured();
    sayView($("beside-assessed"), this.#second, image.change);
    this.#message(this.#first.heat.on ? this.#acts.heatMessage(image) : "");
  }

  /** What is seen beside the first image, for a saved picture: a list of {viewer, overlays}, empty without an image. */
  get stages() {
    return this.#second.image ? [{ viewer: this.#second, overlays: this.#overlays }] : [];
  }

  /** Begin to measure on the second image. */
  measure(kind) {
    this.#overlays.measure(kind);
  }

  /** List what is measured on the second image, and draw it. */
  showMeasured() {
    this.#overlays.draw();
    this.#measured.show();
  }

  /** Move the images together, or apart. */
  link(isLinked = !this.#isLinked) {
    if (!this.#image) return;
    this.#isLinked = isLinked;
    $("linked").setAttribute("aria-pressed", String(isLinked));
    if (isLinked) this.#second.follow(this.#first);
    this.#acts.say(isLinked ? "The images move together." : "Each image moves by itself.");
  }

  /** Have the second image follow where the first was changed. */
  firstChanged() {
    if (!this.#image) return;
    const { tool } = this.#first;
    if (this.#second.tool !== tool) this.#second.setTool(tool);
    if (!this.#acts.images().includes(this.#image)) this.open(null);
    else if (this.#isLinked && this.#leads === this.#first) this.#second.follow(this.#first);
  }

  #changed(viewer) {
    const { image, scale, view, tool } = viewer;
    $("beside-size").textContent = image ? `${image.width} × ${image.height}   ${Math.round(100 * scale)} %` : "";
    $("beside-grey").textContent = image ? greysInWords(view) : "";
    sayView($("beside-assessed"), viewer, this.#image?.change);
    // One tool for both: who measures may do so on either image.
    if (this.#image && this.#first.tool !== tool) this.#first.setTool(tool);
    if (this.#image && this.#isLinked && this.#leads === viewer) this.#first.follow(viewer);
  }

  /** List the images that there are, to choose one from. */
  list() {
    const all = this.#acts.images();
    const options = $("beside").options;
    const isSame = options.length === all.length + 1 && all.every(({ id }, place) => options[place + 1].value === String(id));
    if (!isSame) {
      $("beside").replaceChildren(
        element("option", { value: "", text: "no other image" }),
        ...all.map(({ id, file }) => element("option", { value: id, text: shown(file.name) })),
      );
    }
    $("beside").value = this.#image?.id ?? "";
  }

  #message(text) {
    $("beside-message").textContent = text;
    $("beside-message").hidden = !text;
  }
}
