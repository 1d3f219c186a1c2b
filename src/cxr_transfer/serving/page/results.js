// What is said of one image by one model: scores with how sure they are, or why there are none.
// Knows answers and words; asks nobody.

import { element, icon, score, shown } from "./elements.js";
import { knownErrors } from "./known_errors.js";
import { className, REASONS } from "./words.js";

const VERDICTS = {
  fail: ["fail", "fails its audit"],
  warn: ["warn", "audit with warnings"],
  pass: ["pass", "passes its audit"],
};

/** Return what the audit says of a model, in few words and in a sentence. */
export function audit(model) {
  const [kind, words] = VERDICTS[model.audit] ?? ["none", "not audited"];
  const sentence = {
    fail: "This model fails its audit: a score does not mean that it recognises a disease.",
    warn: "This model's audit has warnings.",
    pass: "This model passes its audit.",
    none: "No audit of this model is known: whether it recognises a disease, or where an image comes from, has not been asked.",
  }[kind];
  return { kind, words, sentence };
}

/** Return in words what there is to be read of a model; "" for nothing. */
export function moreOf(model) {
  const found = [model.audit in VERDICTS && "audit", model.card && "model card"].filter(Boolean).join(" and ");
  return found && found[0].toUpperCase() + found.slice(1);
}

/** Return the findings that a model of several at once names; null of a model of classes. */
export function findingsOf(answer) {
  return Array.isArray(answer?.findings) ? answer.findings : null;
}

function named(findings) {
  return findings.length ? findings.map(className).join(", ") : "No Finding";
}

/** Return an answer in one line that is read aloud: a class is not a finding. */
export function inWords(answer) {
  const several = findingsOf(answer);
  if (several) return named(several);
  return `most like the training class "${className(answer.label)}", class score ${score(answer.probabilities[answer.label])} of 100`;
}

/** Return in words where one answer stands, for a line of a list. */
export function inShort(entry) {
  if (entry.state === "new" || entry.state === "waiting") return { kind: "waiting", text: "waiting" };
  if (entry.state === "sending") return { kind: "sending", text: "being assessed" };
  if (entry.state === "failed") return { kind: "lost", text: "no answer" };
  const { status, label, probabilities } = entry.answer;
  if (status === "ok") {
    const several = findingsOf(entry.answer);
    return { kind: "ok", text: several ? named(several) : `like "${className(label)}" ${score(probabilities[label])}` };
  }
  if (status === "cannot_assess") return { kind: "refused", text: "cannot assess" };
  return { kind: "error", text: "cannot be read" };
}

/** Return the card of one model's answer. */
export function card(entry, model, { again, explain, about }) {
  const said = audit(model);
  const body = {
    waiting: () => [element("p", { class: "quiet", text: "Waiting for its turn." })],
    sending: () => [element("p", { class: "quiet busy", text: "Being assessed." })],
    failed: () => failed(entry, again),
    done: () => (entry.answer.status === "ok" ? scored(entry, model, said, { explain, about }) : refused(entry.answer)),
  }[entry.state]();
  return element(
    "article",
    { class: "card", "aria-label": `Answer of ${model.name}`, "data-status": entry.answer?.status ?? entry.state },
    element(
      "header",
      { class: "card-head" },
      element("h3", { text: model.name }),
      element("span", { class: `chip ${said.kind}`, text: said.words }),
    ),
    ...body,
    entry.state === "done" ? details(entry) : null,
  );
}

// What is to be doubted stands above what might be believed.
function scored({ answer, explaining }, model, said, { explain, about }) {
  const several = findingsOf(answer);
  // In colour only where somebody has asked what such an answer is worth, and of a usual image.
  const doubtful = ["fail", "none"].includes(said.kind) || answer.unusual || answer.trained_on;
  return [
    warnings(answer.warnings),
    said.kind === "pass" ? null : element("p", { class: `audit ${said.kind}`, text: said.sentence }),
    headline(answer, several, doubtful),
    element("p", { class: "limits", text: several ? NO_OTHER_FINDING : NO_FINDING }),
    scores(answer, several ? "Probability of each finding, of 100" : "Class scores, of 100", doubtful),
    knownErrors(answer, model, said),
    answer.unusual ? null : element("p", { class: "quiet", text: calibration(answer) }),
    notes(answer, model),
    heat(answer),
    neighbours(answer),
    moreOf(model) ? button(moreOf(model), about) : null,
    model.explains && !answer.heat_map ? explainer(explaining, explain) : null,
  ];
}

const NO_FINDING = "A class is not a finding: every image gets one of them, and it says nothing of other findings.";
const NO_OTHER_FINDING = "It says nothing of findings that this model does not know.";

function headline(answer, several, doubtful) {
  const { label, probabilities } = answer;
  const among = several
    ? `${several.length} of ${Object.keys(probabilities).length} findings reach their thresholds`
    : `class score ${score(probabilities[label])}`;
  return element(
    "p",
    { class: doubtful ? "headline doubtful" : "headline" },
    several ? null : element("span", { class: "like", text: "most like the training class" }),
    element("strong", { text: several ? named(several) : `"${className(label)}"` }),
    element("span", { text: among }),
  );
}

function scores(answer, caption, doubtful) {
  const several = findingsOf(answer);
  const isNamed = (label) => (several ? several.includes(label) : label === answer.label);
  return element(
    "table",
    { class: doubtful ? "scores doubtful" : "scores" },
    element("caption", { text: caption }),
    element(
      "tbody",
      {},
      ...Object.entries(answer.probabilities).map(([label, value]) => bar(label, value, isNamed(label))),
    ),
  );
}

function refused(answer) {
  const assessed = answer.status === "cannot_assess";
  return [
    warnings(answer.warnings),
    element(
      "p",
      { class: "headline refused" },
      element("strong", { text: assessed ? "Cannot assess" : "Cannot be read" }),
    ),
    REASONS[answer.code] ? element("p", { class: "reason", text: REASONS[answer.code] }) : null,
    element("p", { class: "message", text: answer.message }),
    element("p", { class: "quiet", text: "No class is given." }),
    answer.code === "not_sure" ? scores(answer, "Class scores, of 100: too close for a class", true) : null,
  ];
}

function failed(entry, again) {
  return [
    element("p", { class: "headline refused" }, element("strong", { text: "No answer" })),
    element("p", { class: "message", text: entry.failure }),
    button("Try again", again),
  ];
}

function explainer(explaining, explain) {
  return explaining
    ? element("p", { class: "quiet busy", text: "Heat map and nearest training images are being looked for." })
    : button("Nearest training images and heat map", explain);
}

function button(text, act) {
  const made = element("button", { type: "button", class: "button", text });
  made.addEventListener("click", act);
  return made;
}

function bar(label, value, first) {
  const fill = element("span", { class: "fill" });
  fill.style.inlineSize = `${100 * value}%`;
  return element(
    "tr",
    { class: first ? "first" : null, "data-label": label },
    element("th", { scope: "row", text: className(label) }),
    element("td", { class: "track-cell" }, element("span", { class: "track", "aria-hidden": "true" }, fill)),
    element("td", { class: "number", text: score(value) }),
  );
}

/** Return the entropy of scores over its largest value: 0 one class has all, 1 all are equal. */
export function entropy(scores) {
  const nats = -scores.reduce((sum, p) => (p > 0 ? sum + p * Math.log(p) : sum), 0);
  return Math.min(1, Math.max(0, nats / Math.log(scores.length)));
}

function calibration(answer) {
  const own = findingsOf(answer) ? " Each finding has a threshold of its own." : "";
  if (!answer.calibrated) {
    return `Not calibrated: how high a ${own ? "probability" : "score"} is does not say how often it is right.${own}`;
  }
  const meaning = own ? "." : ": of images scored 80, about 80 in 100 bore that label there.";
  return `Calibrated on images like those of training${meaning} Elsewhere it may not hold.${own}`;
}

// Where an image is unusual nothing is promised of its scores, not even how they were fitted.
function notes({ unusual }, model) {
  const told = (model.notes ?? []).filter((text) => !unusual || !/calibrat/i.test(text));
  return told.length
    ? element("ul", { class: "notes", "aria-label": "Notes on the model" }, ...told.map((text) => element("li", { text })))
    : null;
}

function warnings(texts) {
  if (!texts.length) return null;
  return element(
    "ul",
    { class: "warnings", "aria-label": "Warnings" },
    ...texts.map((text) => element("li", {}, icon("caution"), element("span", { text }))),
  );
}

function heat(answer) {
  if (!answer.heat_map) return null;
  const percent = (share) => `${Math.round(100 * share)} %`;
  const lungs =
    typeof answer.lung_share === "number" && typeof answer.lung_area === "number"
      ? ` ${percent(answer.lung_share)} of it lies over the lungs, which cover ${percent(answer.lung_area)} of what the model sees.`
      : "";
  return element("p", {
    class: "quiet",
    text: `The heat map shows what moved the score of ${className(answer.heat_map_of ?? answer.label)}; it outlines no finding.${lungs}`,
  });
}

function neighbours(answer) {
  if (!answer.neighbours?.length) return null;
  const rows = answer.neighbours.map((near, place) =>
    element(
      "tr",
      {},
      element(
        "td",
        {},
        className(near.label),
        answer.trained_on && place === 0 ? element("span", { class: "same", text: " this image, or a copy of it" }) : null,
      ),
      element("td", { text: shown(String(near.source)) }),
      element("td", { class: "number", text: Number(near.distance).toFixed(3) }),
    ),
  );
  const heads = ["class", "source", "distance"].map((text) => element("th", { scope: "col", text }));
  return element(
    "table",
    { class: "neighbours" },
    element("caption", {
      text: "Nearest training images, as this network sees them. A distance of 0 is the same image; any two training images lie about 1.4 apart.",
    }),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows),
  );
}

let detailsOpen = false; // as the person left them, from image to image

function details(entry) {
  const { answer, body } = entry;
  const known = [
    ["model", answer.model],
    ["request", body.request_id],
    ["version", body.version],
    ["code", answer.code],
    ["time", answer.ms ? `${Number(answer.ms).toFixed(0)} ms` : ""],
  ].filter(([, value]) => value);
  const values = Object.values(answer.probabilities ?? {});
  const told = element(
    "details",
    { class: "details", open: answer.status !== "ok" || detailsOpen ? "" : null },
    element("summary", { text: "Details" }),
    values.length > 1 && !findingsOf(answer)
      ? element("p", {
          class: "entropy",
          text: `Entropy of the scores: ${entropy(values).toFixed(2)} (0 where one class has all, 1 where all are equal). It is low where the model is sure, right or wrong.`,
        })
      : null,
    element(
      "dl",
      { class: "facts" },
      ...known.map(([name, value]) =>
        element("div", {}, element("dt", { text: name }), element("dd", { text: String(value) })),
      ),
    ),
  );
  if (answer.status === "ok") told.addEventListener("toggle", () => (detailsOpen = told.open));
  return told;
}
