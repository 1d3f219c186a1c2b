// What is known of a score: how many validation images with a score like that got the wrong class.
// The counts and intervals are the server's; nothing is computed here but a share.

import { element, shown } from "./elements.js";

const percent = (share) => (100 * share).toFixed(1);

/** Return what is known of an answer's highest score; null where nothing is, or where it does not hold. */
export function knownErrors(answer, model, said) {
  // Of an image that is unlike the validation images, or that was trained on, they say nothing.
  if (answer.unusual || answer.trained_on || answer.findings || !model.score_errors) return null;
  const highest = Math.max(...Object.values(answer.probabilities));
  const band = model.score_errors.find(({ up_to }) => highest <= up_to);
  if (!band) return null;
  const enough = typeof band.errors?.low === "number";
  return element(
    "section",
    { class: "known" },
    element("h4", { text: "How often such a score was wrong" }),
    element("p", {}, ...(enough ? rate(band) : [fewer(band)])),
    enough ? sources(band) : null,
    element("p", { class: "quiet", text: elsewhere(said) }),
  );
}

function scoresOf({ above, up_to: upTo }) {
  if (above === 0) return `a highest score up to ${percent(upTo)}`;
  if (upTo === 1) return `a highest score above ${percent(above)}`;
  return `a highest score above ${percent(above)}, up to ${percent(upTo)}`;
}

function rate(band) {
  const { images, wrong } = band.errors;
  return [
    `Of ${images} validation images with ${scoresOf(band)}, ${wrong} got the wrong class: `,
    element("strong", { class: "rate", text: interval(band.errors) }),
    " (95 % interval).",
  ];
}

function fewer(band) {
  if (!band.errors) return `No validation image had ${scoresOf(band)}: nothing is known of it.`;
  const { images } = band.errors;
  return `Only ${images} validation ${images === 1 ? "image" : "images"} had ${scoresOf(band)}: too few to say how often it is wrong.`;
}

function interval({ images, wrong, low, high }) {
  return `${percent(wrong / images)}\u00a0% [${percent(low)},\u00a0${percent(high)}]`;
}

function sources(band) {
  const all = Object.entries(band.sources);
  if (all.length < 2) return null;
  const rows = all.map(([name, errors]) =>
    element(
      "tr",
      {},
      element("th", { scope: "row", text: shown(name) }),
      element("td", {
        text: `${errors.wrong} of ${errors.images}: ${typeof errors.low === "number" ? interval(errors) : "too few to say"}`,
      }),
    ),
  );
  return element(
    "table",
    { class: "by-source" },
    element("caption", { text: "By source" }),
    element("tbody", {}, ...rows),
  );
}

const ELSEWHERE = {
  fail: "This model fails its audit: elsewhere such a score may be wrong far more often.",
  none: "No audit has asked how often such a score is wrong elsewhere.",
};

function elsewhere({ kind }) {
  const rest = ELSEWHERE[kind] ?? "Elsewhere such a score may be wrong more often.";
  return `These images come from the sources of training. ${rest}`;
}
