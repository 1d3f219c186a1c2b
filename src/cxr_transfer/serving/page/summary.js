// The lines above the list: how many images are answered, how long the rest takes, what can be chosen from.
// Knows states in few words; asks nobody.

import { element } from "./elements.js";

const RECENT = 20; // answers by which the pace is measured
const FEWEST = 4; // answers from which on it is told
const SHORTEST_S = 10; // what is done sooner needs no word

const STATES = {
  waiting: "waiting",
  refused: "not assessed",
  error: "not read",
  lost: "without an answer",
};

/** How fast images are answered, by the times of the last few. */
export class Pace {
  #times = [];
  #done = 0;

  /** Take note, at a time in ms, of how many images are answered; fewer than before begin anew. */
  note(done, now) {
    if (done < this.#done || done === 0) this.#times = [];
    for (let more = this.#done; more < done; more += 1) this.#times.push(now);
    this.#times.splice(0, this.#times.length - RECENT);
    this.#done = done;
  }

  /** Say about how long so many more take; "" where that is not known, or soon over. */
  left(more, now) {
    const times = this.#times;
    if (times.length < FEWEST || !more) return "";
    // Up to now, not to the last answer: who waits sees the time grow where nothing comes.
    const seconds = (more * (now - times[0])) / 1000 / (times.length - 1);
    if (!(seconds >= SHORTEST_S)) return "";
    if (seconds < 55) return `about ${10 * Math.ceil(seconds / 10)} s left`;
    if (seconds < 90 * 60) return `about ${Math.ceil(seconds / 60)} min left`;
    return `about ${Math.ceil(seconds / 3600)} h left`;
  }
}

/** Return the counts of images whose models' answers are of these kinds, {answered, text}. */
export function counted(kinds, shown) {
  const count = (kind) => kinds.filter((of) => of.includes(kind)).length;
  const open = ["waiting", "sending", "lost"];
  const answered = kinds.filter((of) => of.length && !of.some((kind) => open.includes(kind))).length;
  const parts = [`${kinds.length} ${kinds.length === 1 ? "image" : "images"}`, `${answered} answered`];
  for (const kind of ["refused", "error", "lost"]) if (count(kind)) parts.push(`${count(kind)} ${STATES[kind]}`);
  if (shown < kinds.length) parts.push(`${shown} shown`);
  return { answered, lost: count("lost"), text: kinds.length ? parts.join(", ") : "None yet" };
}

/**
 * Offer in a select what images can be chosen by: classes [{value, text}] that are there, and states.
 *
 * What is chosen stays so while it is offered, also where no image is of it any more.
 */
export function offer(select, classes, kinds) {
  const there = new Set(kinds.flat().map((kind) => (kind === "sending" ? "waiting" : kind)));
  const states = Object.entries(STATES).filter(([kind]) => there.has(kind));
  const wanted = [
    { value: "", text: "all answers" },
    ...classes,
    ...states.map(([kind, text]) => ({ value: `is:${kind}`, text })),
  ];
  const chosen = [...select.options].find(({ value, selected }) => selected && value);
  if (chosen && !wanted.some(({ value }) => value === chosen.value)) wanted.push({ value: chosen.value, text: chosen.text });
  const same = wanted.length === select.options.length && wanted.every(({ value }, at) => select.options[at].value === value);
  if (same) return;
  const value = chosen?.value ?? "";
  select.replaceChildren(...wanted.map((one) => element("option", one)));
  select.value = value;
}

/** Return of each image that has the bytes of another one before it: image -> that other. */
export function copies(images) {
  const first = new Map();
  const found = new Map();
  for (const image of images) {
    if (!image.sha256) continue;
    if (first.has(image.sha256)) found.set(image, first.get(image.sha256));
    else first.set(image.sha256, image);
  }
  return found;
}
