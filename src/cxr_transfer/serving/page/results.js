// What is said of one image by one model: scores with how sure they are, or why there are none.
// Knows answers and words; asks nobody.

import { element, icon, score, shown } from "./elements.js";

// A heading for each reason; the server's own sentence stands below it.
const REASONS = {
  blank_or_noise: "The picture is blank, or nothing but noise",
  out_of_distribution: "Not like a chest radiograph that this model knows",
  not_sure: "The model cannot tell the classes apart on this image",
  view: "Not a frontal view",
  inverted: "Black and white are exchanged",
  rotated: "The image lies on its side",
  upside_down: "The image stands on its head",
  collage: "More than one image in the picture",
  blank_image: "The picture is blank",
  too_small: "Too few pixels",
  bad_aspect: "Too long and narrow for a chest radiograph",
  bad_grey_scale: "Its grey scale cannot be told",
  colour_dicom: "A picture in colour",
  insufficient_depth: "Too few shades of grey",
  wrong_modality: "Not a radiograph of the chest, by its header",
  for_processing: "A detector's own values, not the picture that is shown",
  too_complex: "Made of more parts than a radiograph has",
  no_pixel_data: "A file without a picture",
  pixel_length_mismatch: "The file is shorter or longer than it says",
  unsupported_format: "Not an image file",
  unsupported_syntax: "A way of compression that is not read here",
  missing_decoder: "A decoder is not installed on the server",
  empty_file: "An empty file",
  truncated_image: "The file is cut short",
  corrupt_image: "The file is damaged",
  unreadable: "The file cannot be decoded",
  multi_frame: "More than one picture in the file",
  too_many_pixels: "Too many pixels",
  too_many_bytes: "The file is too large",
  too_large_to_decode: "Too large to be decoded",
  decode_timeout: "Takes too long to decode",
  decoder_crashed: "The decoder broke down over the file",
  worker_lost: "The server lost the process that read it",
};

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
  return findings.length ? findings.join(", ") : "No Finding";
}

/** Return in words where one answer stands, for a line of a list. */
export function inShort(entry) {
  if (entry.state === "new" || entry.state === "waiting") return { kind: "waiting", text: "waiting" };
  if (entry.state === "sending") return { kind: "sending", text: "being assessed" };
  if (entry.state === "failed") return { kind: "error", text: "no answer" };
  const { status, label, probabilities } = entry.answer;
  if (status === "ok") {
    const several = findingsOf(entry.answer);
    return { kind: "ok", text: several ? named(several) : `${label} ${score(probabilities[label])}` };
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
    entry.state === "done" ? facts(entry) : null,
  );
}

function scored({ answer, explaining }, model, said, { explain, about }) {
  const several = findingsOf(answer);
  const among = several
    ? `${several.length} of ${Object.keys(answer.probabilities).length} findings reach their thresholds`
    : `class score ${score(answer.probabilities[answer.label])}`;
  return [
    element(
      "p",
      { class: "headline" },
      element("strong", { text: several ? named(several) : answer.label }),
      element("span", { text: among }),
    ),
    scores(answer, several ? "Probability of each finding, of 100" : "Class scores, of 100"),
    said.kind === "pass" ? null : element("p", { class: `audit ${said.kind}`, text: said.sentence }),
    moreOf(model) ? button(moreOf(model), about) : null,
    element("p", { class: "quiet", text: calibration(answer) }),
    warnings([...answer.warnings, ...(model.notes ?? [])]),
    heat(answer),
    neighbours(answer),
    model.explains && !answer.heat_map ? explainer(explaining, explain) : null,
  ];
}

function scores(answer, caption) {
  const classes = Object.entries(answer.probabilities);
  const several = findingsOf(answer);
  const isNamed = (label) => (several ? several.includes(label) : label === answer.label);
  return element(
    "table",
    { class: "scores" },
    element("caption", { text: caption }),
    element("tbody", {}, ...classes.map(([label, value]) => bar(label, value, isNamed(label)))),
    several
      ? null
      : element("tfoot", {}, bar("uncertainty", uncertainty(classes.map(([, value]) => value)), false)),
  );
}

function refused(answer) {
  const assessed = answer.status === "cannot_assess";
  return [
    element(
      "p",
      { class: "headline refused" },
      element("strong", { text: assessed ? "Cannot assess" : "Cannot be read" }),
    ),
    REASONS[answer.code] ? element("p", { class: "reason", text: REASONS[answer.code] }) : null,
    element("p", { class: "message", text: answer.message }),
    element("p", { class: "quiet", text: "No class is given." }),
    answer.code === "not_sure" ? scores(answer, "Class scores, of 100: too close for a class") : null,
    warnings(answer.warnings),
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
    { class: first ? "first" : null },
    element("th", { scope: "row", text: label }),
    element("td", { class: "track-cell" }, element("span", { class: "track", "aria-hidden": "true" }, fill)),
    element("td", { class: "number", text: score(value) }),
  );
}

/** Return the entropy of scores over its largest value: 0 one class has all, 1 all are equal. */
export function uncertainty(scores) {
  const entropy = -scores.reduce((sum, p) => (p > 0 ? sum + p * Math.log(p) : sum), 0);
  return Math.min(1, Math.max(0, entropy / Math.log(scores.length)));
}

function calibration(answer) {
  if (findingsOf(answer)) {
    return answer.calibrated
      ? "Calibrated on images like those of training. Elsewhere it may not hold. Each finding has a threshold of its own."
      : "Not calibrated: how high a probability is does not say how often it is right. Each finding has a threshold of its own.";
  }
  return answer.calibrated
    ? "Calibrated on images like those of training: of images scored 80, about 80 in 100 bore that label there. Elsewhere it may not hold. Uncertainty: 0 where one class has all, 100 where all are equal."
    : "Not calibrated: how high a score is does not say how often it is right. Uncertainty: 0 where one class has all, 100 where all are equal.";
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
    text: `The heat map shows what moved the score of ${answer.heat_map_of ?? answer.label}; it outlines no finding.${lungs}`,
  });
}

function neighbours(answer) {
  if (!answer.neighbours?.length) return null;
  const rows = answer.neighbours.map((near) =>
    element(
      "tr",
      {},
      element("td", { text: shown(String(near.label)) }),
      element("td", { text: shown(String(near.source)) }),
      element("td", { class: "number", text: Number(near.distance).toFixed(3) }),
    ),
  );
  const heads = ["label", "source", "distance"].map((text) => element("th", { scope: "col", text }));
  return element(
    "table",
    { class: "neighbours" },
    element("caption", { text: "Nearest training images, as this network sees them" }),
    element("thead", {}, element("tr", {}, ...heads)),
    element("tbody", {}, ...rows),
  );
}

function facts(entry) {
  const known = [
    ["model", entry.answer.model],
    ["request", entry.body.request_id],
    ["version", entry.body.version],
    ["code", entry.answer.code],
    ["time", entry.answer.ms ? `${Number(entry.answer.ms).toFixed(0)} ms` : ""],
  ].filter(([, value]) => value);
  return element(
    "dl",
    { class: "facts" },
    ...known.map(([name, value]) =>
      element("div", {}, element("dt", { text: name }), element("dd", { text: String(value) })),
    ),
  );
}
