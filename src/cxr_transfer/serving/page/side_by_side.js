// A second image beside the first, say a prior one: moved, zoomed and windowed together with it, or by itself.
// Knows viewers and images; what is asked of them it leaves to others.

import { headerOf } from "./dicom_header.js";
import { element, shown } from "./elements.js";
import { patientLines } from "./image_facts.js";
import { pictureOf } from "./pictures.js";
import { Viewer } from "./viewer.js";

const $ = (id) => document.getElementById(id);

export class SideBySide {
  #first;
  #second;
  #acts;
  #leads; // the viewer that was touched last: the other one follows it
  #isLinked = true;
  #image = null;

  /** `acts` are {images(), selected(), overlayOf(image), say(text)}: what there is, and what a reader is told. */
  constructor(first, acts) {
    this.#first = first;
    this.#acts = acts;
    this.#second = new Viewer($("stage-beside"), (viewer) => this.#changed(viewer));
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
    $("beside-patient").textContent = "";
    this.#message("");
    if (!image) return;
    try {
      image.reading ??= headerOf(image.file).then((header) => (image.header = header));
      const decoded = await pictureOf(image);
      await image.reading;
      if (image !== this.#image) return;
      $("beside-patient").textContent = patientLines(image.header).join("\n");
      // A view of its own, so that the image is as it was left where it is looked at by itself.
      this.#second.show(decoded, { ...image.view, window: null });
      this.showHeat();
      if (this.#isLinked) this.#second.follow(this.#first);
      this.#acts.say(`${shown(image.file.name)} is beside the image.`);
    } catch (error) {
      if (image === this.#image) this.#message(error.message);
    }
  }

  /** Lay its heat map over the second image, where there is one, as over the first. */
  showHeat() {
    if (!this.#image) return;
    this.#second.layers([{ ...this.#acts.overlayOf(this.#image) }]);
    this.#second.setHeat({ ...this.#first.heat });
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
    if (["window", "pan", "zoom"].includes(tool) && this.#second.tool !== tool) this.#second.setTool(tool);
    if (!this.#acts.images().includes(this.#image)) this.open(null);
    else if (this.#isLinked && this.#leads === this.#first) this.#second.follow(this.#first);
  }

  #changed(viewer) {
    $("beside-size").textContent = viewer.image ? `${Math.round(100 * viewer.scale)} %` : "";
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
