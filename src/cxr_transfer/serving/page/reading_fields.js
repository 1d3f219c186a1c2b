// The fields of a reading: the class, how sure a reader is, and notes. What was not committed yet is kept in a draft.

import { element } from "./elements.js";
import { CANNOT_SAY, choices } from "./reading.js";
import { className } from "./words.js";

/** Return in words what is looked for. */
export const named = (target) => target.map(className).join(" or ");

/** Return in words what a reader chose. */
export function labelled(label) {
  return label === CANNOT_SAY ? "cannot say" : className(label);
}

/** Return the fields for a draft {label, confidence, notes} of a study; `changed()` is called after each change. */
export function fieldsOf({ model, target }, draft, changed) {
  return [labels(choices(model, target), draft, changed), confidence(target, draft, changed), notes(draft)];
}

function labels(some, draft, changed) {
  const options = [...some, CANNOT_SAY].map((label) => {
    const input = element("input", { type: "radio", name: "reading-label", value: label });
    input.checked = draft.label === label;
    input.addEventListener("change", () => {
      draft.label = label;
      changed();
    });
    return element("label", { class: "choice" }, input, element("span", { text: labelled(label) }));
  });
  return element("fieldset", {}, element("legend", { text: "What does it show most likely?" }), ...options);
}

function confidence(target, draft, changed) {
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
      changed();
    });
  }
  show();
  return element(
    "div",
    { class: "confidence-field" },
    element("label", { for: "reading-confidence", text: `How sure are you that it shows ${named(target)}?` }),
    input,
    value,
    element("p", { class: "quiet", id: "reading-scale", text: "0 is certainly not, 100 is certainly. Use the whole scale." }),
  );
}

function notes(draft) {
  const input = element("textarea", { id: "reading-notes", rows: 2, maxlength: 1000 });
  input.value = draft.notes;
  input.addEventListener("input", () => (draft.notes = input.value));
  return element("label", { class: "field", for: "reading-notes" }, "Notes", input);
}
