// A blinded reading on the screen: the dialog that begins it, and the form beside each image.
// Holds the study that is under way; the page asks it what may be seen.

import { element, shown } from "./elements.js";
import { save } from "./export.js";
import { confirmed } from "./notices.js";
import { Study } from "./reading.js";
import { fieldsOf, labelled, named } from "./reading_fields.js";
import { openSetup, sayPreparing, sayWrong, settingsOf } from "./reading_setup.js";
import { studyOf } from "./session_file.js";
import { leftOutInWords, prepared } from "./study_images.js";

const $ = (id) => document.getElementById(id);

export class ReadingPanel {
  study = null;
  #page;
  #drafts = new Map(); // image -> {label, confidence, notes}, what was not committed yet
  #watch = { image: null, since: null, seconds: new Map() }; // how long each image was before the reader
  #waiting = null; // settings of a study whose images are still to come
  #coming = []; // images that are being prepared for it
  #ready = null; // looks again whether the reading on the screen may be committed

  /**
   * `page` is what the page lets this do: {images, models, model, hash, isReadable, wasSeen, answerOf, waits, begin,
   * end, next, changed, note, say, terms}, where `hash(image)` uploads an image once, `wasSeen(sha256)` tells whether
   * an answer to it was on the page, `answerOf(image)` is {state, failure}, `begin(images)` shows these alone, and
   * `changed(image)` shows it anew.
   */
  constructor(page) {
    this.#page = page;
    $("reading").addEventListener("click", () => this.#open());
    $("reading-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start().catch((error) => sayWrong(error));
    });
    $("reading-load").addEventListener("click", () => $("reading-file").click());
    $("reading-file").addEventListener("change", (event) => {
      const [file] = event.target.files;
      event.target.value = "";
      if (file) this.#load(file).catch((error) => sayWrong(error));
    });
    $("reading-cancel").addEventListener("click", () => $("reading-panel").close());
    $("reading-waiting-end").addEventListener("click", () => this.#endWaiting());
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
    if (!this.isOn || !image) return false;
    return !this.study.has(image.sha256) || !this.study.isRevealed(image.sha256);
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
    this.#ready = null;
    $("reading-slot").replaceChildren(...(this.isOn ? [image ? this.#form(image) : this.#bar()] : []));
  }

  /** Look again whether the reading on the screen may be committed: its answer may have come, or have failed. */
  answerChanged() {
    this.#ready?.();
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
    if (!this.isOn && model) openSetup(model, this.#page.images().length > 0);
  }

  async #start() {
    const settings = settingsOf(this.#page.model());
    const images = [...this.#page.images()];
    if (!images.length) return this.#wait(settings);
    const found = await prepared(images, this.#page, sayPreparing);
    // Who has closed the dialog meanwhile wants no study.
    return $("reading-panel").open ? this.#begin(new Study(settings, found.items), images, leftOutInWords(found)) : null;
  }

  // A study that waits for its images

  /** Tell whether the next images that are added begin a study. */
  get isWaiting() {
    return this.#waiting !== null;
  }

  #wait(settings) {
    this.#waiting = settings;
    this.#page.waits();
    $("reading-panel").close();
    this.#showWaiting(WAITS);
    this.#page.say(WAITS);
  }

  #showWaiting(text) {
    $("reading-waiting").hidden = !this.isWaiting;
    $("reading-waiting-text").textContent = text;
  }

  /** Begin the study that waits for these images; where they cannot be prepared, it waits on. */
  async begin(images) {
    const isUnderWay = this.#coming.length > 0;
    this.#coming.push(...images);
    if (isUnderWay) return; // They are prepared after those that came before them.
    const coming = this.#coming;
    try {
      const found = await prepared(coming, this.#page, (at, of) => this.#showWaiting(`A reader study is being prepared: image ${at} of ${of}.`));
      // Who does not wait any more, or has loaded another study, wants none of these.
      if (coming === this.#coming) this.#begin(new Study(this.#waiting, found.items), coming, leftOutInWords(found));
    } catch (error) {
      if (coming !== this.#coming) return;
      this.#coming = [];
      this.#showWaiting(WAITS);
      this.#page.note(`The study has not begun: ${error.message} It still waits: add its images again.`);
    }
  }

  #endWaiting() {
    const given = this.#coming.length;
    this.#waiting = null;
    this.#coming = [];
    this.#showWaiting("");
    this.#page.note(given ? "No study waits any more. What was added for it was not kept: add it again, to have it assessed." : "No study waits any more: images that are added now are assessed.");
  }

  async #load(file) {
    const study = studyOf(await file.text(), this.#page.models());
    for (const image of this.#page.images()) await this.#page.hash(image);
    this.#begin(study, this.#page.images());
  }

  #begin(study, images, leftOut = "") {
    this.study = study;
    this.#waiting = null;
    this.#coming = [];
    this.#showWaiting("");
    $("reading-panel").close();
    const marked = study.hashes.filter((sha256) => this.#page.wasSeen(sha256) && study.seenBefore(sha256)).length;
    const taken = new Set();
    const here = images.filter(({ sha256 }) => study.has(sha256) && !taken.has(sha256) && taken.add(sha256));
    this.#page.begin(here, study.model);
    this.next(null);
    const missing = study.size - here.length;
    const told = [
      leftOut,
      marked ? `The model's answer to ${marked} of these images was on this page before: they are marked as not blinded.` : "",
      missing ? `${missing} of ${study.size} images of this session are not here yet: add them.` : "",
    ];
    if (told.some(Boolean)) this.#page.note(told.filter(Boolean).join(" "));
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
    const lacking = element("p", { class: "caution", role: "status" });
    const ready = () => {
      const why = due === "with" ? lackingOf(this.#page.answerOf(image)) : "";
      if (lacking.textContent !== why) lacking.textContent = why;
      commit.disabled = Boolean(why) || draft.label === undefined || draft.confidence === undefined;
    };
    this.#ready = ready;
    const form = element(
      "form",
      { class: "reading-form" },
      element("h3", { text: HEADINGS[due] }),
      ...fieldsOf(study, draft, ready),
      lacking,
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

const WAITS = "A reader study waits for its images: add them now. The model is not asked about them before you read.";

const HEADINGS = {
  without: "Your reading",
  change: "Your reading, committed",
  with: "Your reading with the answer in sight",
};

/** Say why a reading with the answer in sight cannot be committed yet; "" where it can. */
function lackingOf({ state, failure }) {
  if (state === "done") return "";
  const wait = "You can commit once the model's answer is in sight";
  return state === "failed" ? `${wait}. It did not come: ${failure} Press "Try again" below.` : `${wait}: it is being asked for.`;
}

function button(text, act, kind = "small") {
  const made = element("button", { type: "button", class: `button ${kind}`, text });
  made.addEventListener("click", act);
  return made;
}

function focus(where) {
  document.querySelector(where)?.focus({ preventScroll: true });
}
