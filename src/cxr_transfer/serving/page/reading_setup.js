// The dialog that begins a reader study: what is asked of the reader, and what keeps a study from beginning.

import { element } from "./elements.js";
import { className } from "./words.js";

const $ = (id) => document.getElementById(id);

/** Open the dialog for a study of a model. */
export function openSetup(model, hasImages) {
  sayWrong(null);
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
  $("reading-none").hidden = hasImages;
  $("reading-panel").showModal();
}

/** Say in the dialog why a study cannot begin; null for nothing. */
export function sayWrong(error) {
  $("reading-wrong").textContent = error?.message ?? "";
  $("reading-wrong").hidden = !error;
  $("reading-start").textContent = "Start reading";
  $("reading-start").disabled = false;
}

/** Say on its button how far a study is that is being prepared. */
export function sayPreparing(at, of) {
  $("reading-start").textContent = `Preparing ${at} of ${of}`;
  $("reading-start").disabled = true;
}

/** Return what was chosen in the dialog. */
export function settingsOf(model) {
  return {
    reader: $("reading-reader").value.trim(),
    seed: Math.trunc($("reading-seed").valueAsNumber) || 0,
    target: JSON.parse($("reading-target").value),
    reveal: $("reading-each").checked ? "each" : "end",
    again: $("reading-again").checked,
    model,
  };
}
