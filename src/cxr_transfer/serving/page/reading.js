// A blinded reading: in which order, what was read, what may be seen, and what is exported.
// Knows nothing of the screen, and keeps nothing but in memory.

import { cell } from "./export.js";

export const CANNOT_SAY = "cannot_say";
export const FORMAT = "cxr-transfer reading session 1";
const COLUMNS = [
  ...["reader", "image", "file", "sha256", "reading", "label", "confidence", "target", "seconds", "changes"],
  ...["notes", "time", "answer_seen_before", "model", "weights_sha256", "model_status", "model_code", "model_label"],
];

/** Return the classes a reader may choose from: of findings, the one that is looked for or none. */
export function choices(model, target) {
  return model.task === "multi_label" ? [...target, "No Finding"] : model.labels;
}

/** Return items in an order that a seed and their contents fix, in whatever order they came. */
export function shuffled(items, seed) {
  const mixed = [...items].sort((a, b) => (a.sha256 < b.sha256 ? -1 : 1));
  const draw = generator(seed);
  for (let last = mixed.length - 1; last > 0; last -= 1) {
    const other = Math.floor(draw() * (last + 1));
    [mixed[last], mixed[other]] = [mixed[other], mixed[last]];
  }
  return mixed;
}

// A linear congruential generator modulo 2^32 (Knuth's multiplier), of whose state the high bits are taken.
function generator(seed) {
  let state = (Math.imul(seed >>> 0, 0x9e3779b1) ^ 0x5bd1e995) >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 24;
  };
}

export class Study {
  #items = new Map(); // SHA-256 -> {place, sha256, file, answer_seen_before, readings, answer}
  #seenSince = new Set(); // SHA-256 of images that were read blinded, and whose answer was seen afterwards

  /**
   * `settings` are {reader, seed, target, reveal, again, model}: the classes that are looked for, whether an
   * answer is shown after "each" image or at the "end", and whether images are read again with it.
   * `items` are {sha256, file, answer_seen_before}, one for each image.
   */
  constructor(settings, items) {
    Object.assign(this, settings);
    this.started = new Date().toISOString();
    this.finished = null; // when all was revealed
    this.unsaved = false;
    for (const [at, item] of shuffled(items, settings.seed).entries()) {
      this.#items.set(item.sha256, { readings: [], answer: null, ...item, place: at + 1 });
    }
  }

  get size() {
    return this.#items.size;
  }

  /** Number of images that were read without the answer, and with it. */
  get read() {
    const count = (condition) => [...this.#items.values()].filter(({ sha256 }) => this.reading(sha256, condition)).length;
    return { without: count("without"), with: count("with") };
  }

  get hashes() {
    return [...this.#items.keys()];
  }

  has(sha256) {
    return this.#items.has(sha256);
  }

  place(sha256) {
    return this.#items.get(sha256).place;
  }

  reading(sha256, condition) {
    return this.#items.get(sha256).readings.find((one) => one.condition === condition);
  }

  isRevealed(sha256) {
    if (this.finished) return true;
    return this.reveal === "each" && Boolean(this.reading(sha256, "without"));
  }

  /** Return which reading of an image is due: "without" the answer, "with" it, or null. */
  due(sha256) {
    if (!this.reading(sha256, "without")) return this.finished ? null : "without";
    return this.again && this.isRevealed(sha256) && !this.reading(sha256, "with") ? "with" : null;
  }

  /** Tell whether a reading may still be changed: nothing of the answer was seen. */
  mayChange(sha256) {
    return Boolean(this.reading(sha256, "without")) && !this.isRevealed(sha256);
  }

  /**
   * Take note that the answer of an image was seen outside of this study; tell whether a reading is marked for it.
   *
   * What was read before stays blinded, unless it is changed.
   */
  seenBefore(sha256) {
    if (this.isRevealed(sha256)) return false;
    const isRead = Boolean(this.reading(sha256, "without"));
    if (isRead) this.#seenSince.add(sha256);
    else this.#items.get(sha256).answer_seen_before = true;
    return !isRead;
  }

  /** Keep a reading {label, confidence, notes, seconds} of an image. */
  commit(sha256, { label, confidence, notes, seconds }) {
    const condition = this.due(sha256) ?? (this.mayChange(sha256) ? "without" : null);
    if (!condition) throw new Error("This reading cannot be changed any more.");
    const item = this.#items.get(sha256);
    const { readings } = item;
    if (condition === "with" && !item.answer) throw new Error("The model's answer is not there yet: read it first, then commit.");
    if (condition === "without" && this.#seenSince.has(sha256)) item.answer_seen_before = true;
    const before = this.reading(sha256, condition);
    const reading = {
      ...{ condition, label, confidence, notes },
      seconds: Math.round(10 * (seconds + (before?.seconds ?? 0))) / 10,
      changes: before ? before.changes + 1 : 0,
      time: new Date().toISOString(),
    };
    if (before) readings[readings.indexOf(before)] = reading;
    else readings.push(reading);
    this.unsaved = true;
  }

  /** End the readings without the answer, and reveal all of them. */
  finish() {
    this.finished = new Date().toISOString();
    this.unsaved = true;
  }

  /** Keep what the model said of an image; heat maps are pictures and stay behind. */
  answered(sha256, { heat_map: _, neighbours: __, ...answer }) {
    this.#items.get(sha256).answer = { ...answer, file: undefined };
  }

  asJson(intendedUse, version) {
    const { reader, seed, target, reveal, again, model, started, finished } = this;
    const { name, weights_sha256, labels } = model;
    const session = {
      ...{ format: FORMAT, intended_use: intendedUse, version, reader, seed, target, reveal, again, started, finished },
      model: { name, weights_sha256, labels },
      images: [...this.#items.values()],
    };
    return `${JSON.stringify(session, null, 1)}\n`;
  }

  /** Return a row for each reading, in the order in which images are read. */
  asCsv(intendedUse) {
    const { name, weights_sha256: weights, labels } = this.model;
    const rows = [...this.#items.values()].flatMap(({ place, file, sha256, readings, answer, answer_seen_before: seen }) =>
      readings.map((one) => [
        ...[this.reader, place, file, sha256, one.condition, one.label, one.confidence, this.target.join("|")],
        ...[one.seconds, one.changes, one.notes, one.time, seen ? "yes" : "no"],
        ...(answer ? [name, weights, answer.status, answer.code, answer.label] : Array(5).fill(null)),
        ...labels.map((label) => (answer?.status === "ok" ? answer.probabilities[label] : null)),
        intendedUse,
      ]),
    );
    const columns = [...COLUMNS, ...labels.map((label) => `score_${label}`), "intended_use"];
    return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
  }
}
