// A session of readings that was saved: checked from end to end, so that nothing else goes on as one.
// Every entry is checked here and nowhere else; what is wrong is said in a sentence.

import { shown } from "./elements.js";
import { CANNOT_SAY, choices, FORMAT, Study } from "./reading.js";

const LONGEST_READER = 40; // characters, as in the form
const LONGEST_NOTES = 1000;
const MOST_SEED = 2 ** 32 - 1;
const MOST_SHOWN = 60; // characters of an entry that is wrong

/** Return the study that was saved as text, to go on with one of these models; throw where that cannot be. */
export function studyOf(text, models) {
  const session = parsed(text);
  const model = modelOf(session, models);
  checkSettings(session, model);
  checkImages(session, model);
  const { reader, seed, target, reveal, again, started, finished, images } = session;
  return Object.assign(new Study({ reader, seed, target, reveal, again, model }, images), { started, finished });
}

function parsed(text) {
  let session;
  try {
    session = JSON.parse(text);
  } catch {
    throw refusal("JSON", "other text");
  }
  hold(session?.format === FORMAT, `the format "${FORMAT}"`, session?.format);
  return session;
}

function modelOf({ model: said }, models) {
  hold(isText(said?.name) && isText(said.weights_sha256), "the name and the weights of a model", said);
  const model = models.find(({ name }) => name === said.name);
  if (!model) throw new Error(`This session is of the model ${clipped(said.name)}, which is not served here. Ask who runs the server for that model.`);
  if (model.weights_sha256 !== said.weights_sha256) {
    throw new Error(`This session is of other weights of ${model.name} than are served here. Ask who runs the server for those.`);
  }
  return model;
}

function checkSettings({ reader, seed, target, reveal, again, started, finished }, { labels }) {
  hold(isText(reader, LONGEST_READER) && reader.trim(), `a reader of 1 to ${LONGEST_READER} characters`, reader);
  hold(isWhole(seed) && seed <= MOST_SEED, `a seed from 0 to ${MOST_SEED}`, seed);
  const isTarget = isList(target) && areDistinct(target) && target.every((label) => labels.includes(label));
  hold(isTarget, `a target of the classes ${labels.join(", ")}`, target);
  hold(["each", "end"].includes(reveal), '"each" or "end" as the time at which answers are shown', reveal);
  hold(typeof again === "boolean", "true or false as to a second reading", again);
  hold(isTime(started), "a time at which it began", started);
  hold(finished === null || isTime(finished), "a time at which it was finished, or null", finished);
}

function checkImages({ images, target }, model) {
  hold(isList(images), "at least one image", images);
  const labels = [...choices(model, target), CANNOT_SAY];
  for (const image of images) {
    hold(/^[0-9a-f]{64}$/.test(image?.sha256), "the SHA-256 of each image", image?.sha256);
    hold(isText(image.file), "the file's name of each image", image.file);
    hold(typeof image.answer_seen_before === "boolean", "true or false as to whether an answer was seen before", image.answer_seen_before);
    hold(isAnswer(image.answer), "an answer of a model, or null", image.answer);
    hold(Array.isArray(image.readings), "a list of readings of each image", image.readings);
    for (const reading of image.readings) checkReading(reading, labels);
    const conditions = image.readings.map(({ condition }) => condition);
    const inOrder = conditions.length === 0 || (conditions.includes("without") && areDistinct(conditions));
    hold(inOrder, "one reading without the answer, and at most one with it", conditions);
  }
  hold(areDistinct(images.map(({ sha256 }) => sha256)), "each image once", "one of them twice");
}

function checkReading(reading, labels) {
  hold(["without", "with"].includes(reading?.condition), 'a reading "without" or "with" the answer', reading?.condition);
  const { label, confidence, notes, seconds, changes, time } = reading;
  hold(labels.includes(label), `a reading that is one of ${labels.join(", ")}`, label);
  hold(isWhole(confidence) && confidence <= 100, "a confidence from 0 to 100", confidence);
  hold(isText(notes, LONGEST_NOTES), `notes of at most ${LONGEST_NOTES} characters`, notes);
  hold(Number.isFinite(seconds) && seconds >= 0, "the seconds that a reading took", seconds);
  hold(isWhole(changes), "how often a reading was changed", changes);
  hold(isTime(time), "the time of a reading", time);
}

const isList = (value) => Array.isArray(value) && value.length > 0;
const isText = (value, most = Infinity) => typeof value === "string" && value.length <= most;
const isTime = (value) => typeof value === "string" && Number.isFinite(Date.parse(value));
const isWhole = (value) => Number.isInteger(value) && value >= 0;
const areDistinct = (values) => new Set(values).size === values.length;

function isAnswer(answer) {
  if (answer === null) return true;
  if (!["ok", "cannot_assess", "error"].includes(answer?.status)) return false;
  const scores = Object.values(answer.probabilities ?? {});
  return scores.every(Number.isFinite) && (answer.status !== "ok" || scores.length > 0);
}

function hold(isRight, expected, found) {
  if (!isRight) throw refusal(expected, found === undefined ? "nothing of it" : clipped(found));
}

function refusal(expected, found) {
  return new Error(
    `This file is no session of readings that can go on here: expected ${expected}, but found ${found}. Choose a file that "Save session" has written, as it was written.`,
  );
}

function clipped(value) {
  const text = shown(typeof value === "string" ? value : JSON.stringify(value));
  return text.length > MOST_SHOWN ? `${text.slice(0, MOST_SHOWN)} …` : text;
}
