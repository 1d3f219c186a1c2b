// The controls beside the image: presets, window and level, turns, and which image the answer is of.
// Knows the viewer and the elements of its toolbars; knows no answers.

import { element } from "./elements.js";

const $ = (id) => document.getElementById(id);
const AS_STORED = Object.freeze({ rotate: 0, flip: false, invert: false });

/** Return the change of an image that a view shows: {rotate, flip, invert}. */
const changeOf = ({ rotate, flip, invert }) => ({ rotate, flip, invert });
const isSame = (one, other) => one.rotate === other.rotate && one.flip === other.flip && one.invert === other.invert;

/** Return a change in words; "" of none. */
export function inWords({ rotate, flip, invert }) {
  const steps = [flip && "mirrored", rotate && `turned clockwise by ${rotate} degrees`, invert && "inverted"];
  return steps.filter(Boolean).join(", ");
}

/** Let the controls act on a viewer; `assess(change)` asks for answers of the image so changed, or null as the file has it. */
export function listenToControls(viewer, assess) {
  const acts = {
    "zoom-in": () => viewer.zoomBy(1.25),
    "zoom-out": () => viewer.zoomBy(0.8),
    fit: () => viewer.fit(),
    actual: () => viewer.actualSize(),
    invert: () => viewer.setGreys({ invert: !viewer.view.invert }),
    reset: () => viewer.reset(),
    "turn-left": () => viewer.turn(270),
    "turn-right": () => viewer.turn(90),
    mirror: () => viewer.mirror(),
    "assess-as-shown": () => {
      const change = changeOf(viewer.view);
      assess(isSame(change, AS_STORED) ? null : change);
    },
  };
  for (const [id, act] of Object.entries(acts)) $(id).addEventListener("click", act);
  $("window").addEventListener("input", (event) => viewer.setGreys({ window: event.target.valueAsNumber }));
  $("level").addEventListener("input", (event) => viewer.setGreys({ level: event.target.valueAsNumber }));
  $("preset").addEventListener("change", (event) => viewer.usePreset(Number(event.target.value)));
  $("toolbar").addEventListener("click", (event) => {
    const tool = event.target.closest("[data-tool]")?.dataset.tool;
    if (tool) viewer.setTool(tool);
  });
}

let listed = null; // the presets that are in the menu

/**
 * Show where the controls stand; `change` is that of the image that was assessed, or null.
 *
 * Where `isBlinded`, nothing is said of an answer.
 */
export function showControls(viewer, change, isBlinded) {
  const { view, image, tool, scale } = viewer;
  $("invert").setAttribute("aria-pressed", String(view.invert));
  $("mirror").setAttribute("aria-pressed", String(view.flip));
  for (const button of document.querySelectorAll("[data-tool].tool")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }
  for (const id of ["window", "level", "preset", "turn-left", "turn-right", "mirror"]) $(id).disabled = !image;
  $("corner-grey").textContent = image ? greysInWords(view) : "";
  $("corner-size").textContent = image ? `${image.width} × ${image.height}   ${Math.round(100 * scale)} %` : "";
  if (image) showGreys(viewer);
  $("assess-as-shown").disabled = !image || isAssessed(view, change);
  sayView($("assessed"), viewer, change, isBlinded);
}

function showGreys({ view, bounds, presets }) {
  for (const id of ["window", "level"]) {
    const [min, max] = bounds[id];
    Object.assign($(id), { min, max, step: bounds.step });
    $(id).value = view[id];
  }
  if (listed !== presets) {
    listed = presets;
    const options = presets.map(({ name }, at) => element("option", { value: at, text: name }));
    $("preset").replaceChildren(element("option", { value: "", text: "Own window", hidden: "" }), ...options);
  }
  $("preset").value = view.preset ?? "";
}

const isAssessed = (view, change) => isSame(changeOf(view), change ?? AS_STORED);

/** Say on a line over the image how it is shown, and which image the answer is of. */
export function sayView(line, { view, image }, change, isBlinded = false) {
  line.classList.toggle("apart", !isBlinded && !isAssessed(view, change));
  const text = image ? viewInWords(view, change, isBlinded) : "";
  if (line.textContent !== text) line.textContent = text;
}

/** Return how an image is shown, and which image the answer is of; "" where both are as the file has it. */
export function viewInWords(view, change, isBlinded = false) {
  const [shown, assessed] = [changeOf(view), change ?? AS_STORED].map(inWords);
  if (isBlinded) return shown && `The view is ${shown}.`;
  if (isAssessed(view, change)) return assessed && `The answer is of the image as shown: ${assessed}.`;
  const of = assessed ? `of the image as it was changed (${assessed})` : "of the image as the file has it";
  return `The view is ${shown || "as the file has it"}; the answer is ${of}.`;
}

/** Return window and level as they stand in a corner of the image. */
export const greysInWords = ({ window, level, invert }) => `W ${short(window)}  L ${short(level)}${invert ? "  inverted" : ""}`;

const short = (value) => String(Number(value.toPrecision(6)));
