// A blinded reading on the screen: the dialog that begins it, and the form beside each image.
// Holds the study that is under way; the page asks it what may be seen.

import { element, shown } from "./elements.js";
import { save } from "./export.js";
import { CANNOT_SAY, choices, Study } from "./reading.js";
import { className } from "./words.js";

const $ = (id) => document.getElementById(id);
const named = (target) => target.map(className).join(" or ");

export class ReadingPanel {
  study = null;
  #page;
  #drafts = new Map(); // image -> {label, confidence, notes}, what was not committed yet
  #watch = { image: null, since: null, seconds: new Map() }; // how long each image was before the reader
  #waiting = null; // settings of a study whose images are still to come

  /**
   * `page` is what the page lets this do: {images, models, model, hash, begin, end, next, changed, note, say, terms},
   * where `hash(image)` uploads an image once, `begin(images)` shows these alone, and `changed(image)` shows it anew.
   */
  constructor(page) {
    this.#page = page;
    $("reading").addEventListener("click", () => this.#open());
    $("reading-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start().catch((error) => this.#wrong(error));
    });
    $("reading-load").addEventListener("click", () => $("reading-file").click());
    $("reading-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) this.#load(file).catch((error) => this.#wrong(error));
    });
    $("reading-cancel").addEventListener("click", () => $("reading-panel").close());
    addEventListener("beforeunload", (event) => {
      if (this.study?.unsaved) event.preventDefault();
    });
    document.addEventListener("visibilitychange", () => this.watch(document.hidden ? null : this.#watch.image));
  }

  get isOn() {
    return this.study !== null;
  }

  /** Tell whether all that a model says of an image must stay unseen. */
  hides(image) {
    return this.isOn && Boolean(image) && !this.study.isRevealed(image.sha256);
  }

  /** Return what an image is called while it is read: its file's name may tell what it shows. */
  nameOf(image) {
    return this.isOn ? `Image ${this.study.place(image.sha256)}` : null;
  }

  /** Return in words where the reading of an image stands, for a line of the list. */
  stateOf(image) {
    const { study } = this;
    if (!study) return null;
    const due = study.due(image.sha256);
    if (due === "without") return { kind: "waiting", text: "to be read" };
    if (due === "with") return { kind: "ok", text: "read; to be read again with the answer" };
    return { kind: "ok", text: study.reading(image.sha256, "without") ? "read" : "not read by this reader" };
  }

  /** Return how far the study is, in words and as a share. */
  get progress() {
    const { size, read, again } = this.study;
    const more = again ? `, ${read.with} again with the answer` : "";
    return { text: `${read.without} of ${size} read${more}`, done: read.without + (again ? read.with : 0), of: again ? 2 * size : size };
  }

  /** Count the time of an image from now on; null for none. */
  watch(image) {
    const { image: before, since, seconds } = this.#watch;
    if (before && since !== null) seconds.set(before, (seconds.get(before) ?? 0) + (performance.now() - since) / 1000);
    if (image) this.#watch.image = image;
    this.#watch.since = image && this.isOn ? performance.now() : null;
  }

  /** Keep what a model said of an image that may be seen. */
  answered(image, answer) {
    if (this.isOn && !this.hides(image)) this.study.answered(image.sha256, answer);
  }

  /** Return the images of the study among new ones; of others is told that they are none of it. */
  async admit(found) {
    const known = [];
    for (const image of found) {
      await this.#page.hash(image);
      const isHere = this.#page.images().some(({ sha256 }) => sha256 === image.sha256);
      if (this.study.has(image.sha256) && !isHere) known.push(image);
    }
    if (known.length < found.length) {
      this.#page.note(`${found.length - known.length} of what was added are no images of this study, or here already.`);
    }
    return known;
  }

  /** Show the part of the answer's column in which an image is read; nothing where no study is under way. */
  render(image) {
    $("reading-slot").replaceChildren(...(this.isOn ? [image ? this.#form(image) : this.#bar()] : []));
  }

  #form(image) {
    const { study } = this;
    const due = study.due(image.sha256) ?? (study.mayChange(image.sha256) ? "change" : null);
    return element(
      "section",
      { class: "reading", "aria-label": "Reading" },
      this.#bar(),
      this.#committed(image),
      due ? this.#fields(image, due) : null,
      due ? null : this.#onwards(image),
    );
  }

  // The dialog

  #open() {
    const model = this.#page.model();
    if (this.isOn || !model) return;
    this.#waiting = null;
    this.#wrong(null);
    $("reading-model").textContent = `${model.name}, weights ${model.weights_sha256.slice(0, 12)}`;
    const targets = model.labels.map((label) => [label]);
    const others = model.labels.filter((label) => label !== "normal");
    if (model.task !== "multi_label" && others.length > 1 && others.length < model.labels.length) targets.unshift(others);
    const isOne = (target) => target.length === 1;
    $("reading-target").replaceChildren(
      ...targets.map((target) =>
        element("option", { value: JSON.stringify(target), text: isOne(target) ? className(target[0]) : "any class but normal" }),
      ),
    );
    $("reading-none").hidden = this.#page.images().length > 0;
    $("reading-panel").showModal();
  }

  #wrong(error) {
    $("reading-wrong").textContent = error?.message ?? "";
    $("reading-wrong").hidden = !error;
    $("reading-start").textContent = "Start reading";
  }

  async #start() {
    const settings = {
      reader: $("reading-reader").value.trim(),
      seed: Math.trunc($("reading-seed").valueAsNumber) || 0,
      target: JSON.parse($("reading-target").value),
      reveal: $("reading-each").checked ? "each" : "end",
      again: $("reading-again").checked,
      model: this.#page.model(),
    };
    if (this.#page.images().length) return this.#beginWith(settings, this.#page.images());
    this.#waiting = settings;
    $("reading-panel").close();
    return this.#page.note("Add the images of the study now. The model is not asked about them before you read.");
  }

  /** Tell whether the next images that are added begin a study. */
  get isWaiting() {
    return this.#waiting !== null;
  }

  /** Begin the study that waits for these images. */
  async begin(images) {
    const settings = this.#waiting;
    this.#waiting = null;
    this.#page.note("");
    await this.#beginWith(settings, images).catch((error) => this.#page.note(error.message));
  }

  async #beginWith(settings, images) {
    const items = [];
    const left = [];
    for (const [at, image] of images.entries()) {
      $("reading-start").textContent = `Preparing ${at + 1} of ${images.length}`;
      await this.#page.hash(image);
      const answers = [...image.answers.values()].map(({ answer }) => answer).filter(Boolean);
      const isCopy = items.some(({ sha256 }) => sha256 === image.sha256);
      if (isCopy || answers.some(({ status }) => status === "error")) left.push(image);
      else items.push({ sha256: image.sha256, file: image.path, answer_seen_before: answers.length > 0 });
    }
    if (!items.length) throw new Error("None of these images can be read.");
    this.#begin(new Study(settings, items), images);
    const seen = items.filter(({ answer_seen_before: before }) => before).length;
    const told = [
      left.length ? `${left.length} copies or files that cannot be read are left out.` : "",
      seen ? `The model's answer to ${seen} of these images was on this page before: they are marked as not blinded.` : "",
    ].filter(Boolean);
    if (told.length) this.#page.note(told.join(" "));
  }

  async #load(file) {
    const study = Study.from(await file.text(), this.#page.models());
    for (const image of this.#page.images()) await this.#page.hash(image);
    this.#begin(study, this.#page.images());
  }

  #begin(study, images) {
    this.study = study;
    $("reading-panel").close();
    const seen = new Set();
    const here = images.filter(({ sha256 }) => study.has(sha256) && !seen.has(sha256) && seen.add(sha256));
    this.#page.begin(here, study.model);
    this.next(null);
    const missing = study.size - here.length;
    if (missing) this.#page.note(`${missing} of ${study.size} images of this session are not here yet: add them.`);
  }

  // The form

  #bar() {
    const { study } = this;
    const { text, done, of } = this.progress;
    return element(
      "div",
      { class: "reading-bar" },
      element("p", { class: "reading-who", text: `Reader ${shown(study.reader)}: ${text}` }),
      element("progress", { max: of, value: done, "aria-label": "Images read" }),
      element(
        "div",
        { class: "reading-actions" },
        button("Save session", () => this.saveSession()),
        button("Readings as CSV", () => this.saveTable()),
        study.finished || study.reveal === "each"
          ? button("End the study", () => this.#leave())
          : button("Finish and reveal", () => this.#finish()),
      ),
    );
  }

  #committed(image) {
    const said = ["without", "with"].map((condition) => this.study.reading(image.sha256, condition)).filter(Boolean);
    if (!said.length) return null;
    const lines = said.map(({ condition, label, confidence }) =>
      element("li", {
        text: `${condition === "with" ? "With" : "Without"} the answer: ${labelled(label)}, ${named(this.study.target)} ${confidence} of 100`,
      }),
    );
    return element("ul", { class: "committed", "aria-label": "What you read" }, ...lines);
  }

  #fields(image, due) {
    const { study } = this;
    const before = study.reading(image.sha256, "without");
    const draft = this.#drafts.get(image) ?? { label: before?.label, confidence: before?.confidence, notes: due === "change" ? before.notes : "" };
    this.#drafts.set(image, draft);
    const commit = element("button", { type: "submit", class: "button primary", text: due === "change" ? "Change the reading" : "Commit" });
    const ready = () => (commit.disabled = draft.label === undefined || draft.confidence === undefined);
    const form = element(
      "form",
      { class: "reading-form" },
      element("h3", { text: HEADINGS[due] }),
      this.#labels(draft, ready),
      this.#confidence(draft, ready),
      this.#notes(draft),
      commit,
      element("p", { class: "quiet", text: study.reveal === "each" || due === "with" ? "It cannot be changed afterwards." : "It can be changed until all is revealed." }),
    );
    ready();
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (!commit.disabled) this.#commit(image, draft, due);
    });
    return form;
  }

  #labels(draft, ready) {
    const options = [...choices(this.study.model, this.study.target), CANNOT_SAY].map((label) => {
      const input = element("input", { type: "radio", name: "reading-label", value: label });
      input.checked = draft.label === label;
      input.addEventListener("change", () => {
        draft.label = label;
        ready();
      });
      return element("label", { class: "choice" }, input, element("span", { text: labelled(label) }));
    });
    return element("fieldset", {}, element("legend", { text: "What does it show most likely?" }), ...options);
  }

  #confidence(draft, ready) {
    const value = element("output", { class: "confidence", for: "reading-confidence" });
    const input = element("input", { type: "range", id: "reading-confidence", min: 0, max: 100, step: 1, "aria-describedby": "reading-scale" });
    input.value = draft.confidence ?? 50;
    const show = () => {
      value.textContent = draft.confidence === undefined ? "not set" : `${draft.confidence} of 100`;
      input.setAttribute("aria-valuetext", value.textContent);
      input.classList.toggle("unset", draft.confidence === undefined);
    };
    // A click on the middle sets what stands there already, of which no "input" tells.
    for (const kind of ["input", "click"]) {
      input.addEventListener(kind, () => {
        draft.confidence = input.valueAsNumber;
        show();
        ready();
      });
    }
    show();
    return element(
      "div",
      { class: "confidence-field" },
      element("label", { for: "reading-confidence", text: `How sure are you that it shows ${named(this.study.target)}?` }),
      input,
      value,
      element("p", { class: "quiet", id: "reading-scale", text: "0 is certainly not, 100 is certainly. Use the whole scale." }),
    );
  }

  #notes(draft) {
    const input = element("textarea", { id: "reading-notes", rows: 2, maxlength: 1000 });
    input.value = draft.notes;
    input.addEventListener("input", () => (draft.notes = input.value));
    return element("label", { class: "field", for: "reading-notes" }, "Notes", input);
  }

  #onwards(image) {
    const isLast = this.#unread(image) === null;
    if (isLast) {
      return element("p", { class: "quiet", text: this.study.finished || this.study.reveal === "each" ? "All images are read. Save the session." : "All images are read. Finish to see the answers." });
    }
    return button("Next image", () => this.next(image), "primary onwards");
  }

  #commit(image, draft, due) {
    this.watch(image);
    const seconds = this.#watch.seconds.get(image) ?? 0;
    this.#watch.seconds.set(image, 0);
    this.study.commit(image.sha256, { ...draft, seconds });
    this.#drafts.delete(image);
    const { text } = this.progress;
    this.#page.say(`Reading committed. ${text}.`);
    this.#page.changed(image);
    // Where the answer is revealed, it is looked at first.
    if (this.study.isRevealed(image.sha256) && due !== "with") focus(".reading input:checked, .onwards, .card");
    else this.next(image);
  }

  // Going through the images

  /** Go to the next image that is to be read, or stay where there is none. */
  next(from) {
    const image = this.#unread(from);
    if (!image) return focus(".reading-actions button");
    this.#page.next(image);
    return focus('.reading-form input[type="radio"]');
  }

  /** Return the next image after one whose reading is due, those without any first; null for none. */
  #unread(from) {
    const images = this.#page.images();
    const at = images.indexOf(from) + 1;
    const ahead = [...images.slice(at), ...images.slice(0, at)].filter((image) => image !== from);
    const isDue = (condition) => ahead.find(({ sha256 }) => this.study.due(sha256) === condition);
    return isDue("without") ?? isDue("with") ?? null;
  }

  // The ends

  saveSession() {
    const { intendedUse, version } = this.#page.terms();
    save(`reading-${this.#who}.json`, this.study.asJson(intendedUse, version), "application/json");
    this.study.unsaved = false;
  }

  saveTable() {
    save(`reading-${this.#who}.csv`, this.study.asCsv(this.#page.terms().intendedUse), "text/csv;charset=utf-8");
  }

  get #who() {
    return this.study.reader.replace(/[^\p{L}\p{N}_-]+/gu, "_").slice(0, 40) || "reader";
  }

  async #finish() {
    const { size, read } = this.study;
    const rest = size - read.without;
    const question = rest ? `${rest} images are not read, and cannot be read afterwards.` : "Readings cannot be changed afterwards.";
    if (!(await confirmed("Show the model's answers?", question, "Finish and reveal"))) return;
    this.study.finish();
    this.#page.changed(null);
    this.next(null);
  }

  async #leave() {
    if (this.study.unsaved) {
      const wanted = await confirmed("End the study?", "Its readings are not saved: this browser keeps nothing of them.", "End without saving");
      if (!wanted) return;
    }
    this.watch(null);
    this.study = null;
    this.#drafts.clear();
    this.#watch.seconds.clear();
    this.#page.end();
  }
}

const HEADINGS = {
  without: "Your reading",
  change: "Your reading, committed",
  with: "Your reading with the answer in sight",
};

function labelled(label) {
  return label === CANNOT_SAY ? "cannot say" : className(label);
}

function button(text, act, kind = "small") {
  const made = element("button", { type: "button", class: `button ${kind}`, text });
  made.addEventListener("click", act);
  return made;
}

function focus(where) {
  document.querySelector(where)?.focus({ preventScroll: true });
}

/** Ask whether something is wanted that cannot be taken back. */
function confirmed(title, text, act) {
  const panel = $("confirm-panel");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-act").textContent = act;
  panel.returnValue = "";
  panel.showModal();
  return new Promise((resolve) => {
    panel.addEventListener("close", () => resolve(panel.returnValue === "yes"), { once: true });
  });
}
