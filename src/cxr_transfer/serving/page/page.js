// The page: images in on the left, the image in the middle, answers on the right.
// Holds what there is (images, models, what is selected) and lets the other modules show it.

import { tellOf } from "./about.js";
import * as api from "./api.js";
import { element, shown } from "./elements.js";
import { asCsv, asJson, save } from "./export.js";
import { chosen, dropped, holdsFiles } from "./intake.js";
import { listenToKeys } from "./keys.js";
import { cancelAllBut, forget, overlayOf, pictureOf, thumbnailOf } from "./pictures.js";
import { Queue } from "./queue.js";
import { audit, card, inShort, inWords, moreOf } from "./results.js";
import { OPENING, Viewer } from "./viewer.js";
import { Worklist } from "./worklist.js";

const AT_ONCE = 3; // requests for answers
const UNDO_MS = 15000; // for how long what was taken off the list can be put back
const LOOK_MS = 90; // who goes through the list with a key looks at the last image, not at all of them
const IN_A_REPORT = 32; // images: as many the server takes at once
const REPORT_BYTES = 100 * 1024 * 1024; // and as many bytes, with room for what stands between them

const $ = (id) => document.getElementById(id);
const images = [];
let numbered = 0;
let selected = null;
let models = [];
let opening = []; // names of models that are not open yet
let model = null; // the catalogue's entry
let other = null; // the one to compare with, or null
let version = "";

const intendedUse = $("intended-use").textContent;
const primer = $("answer").firstElementChild;

// Models

/** Show the models as they are opened; resolve when the first one is there. */
function openCatalogue() {
  return new Promise((resolve) => {
    const show = (catalogue) => {
      if (catalogue.opening.join() === opening.join() && models.length) return;
      opening = catalogue.opening;
      models = catalogue.models.map((one) => models.find(({ name }) => name === one.name) ?? one);
      model ??= models.find(({ name }) => name === catalogue.default) ?? models[0] ?? null;
      showModels();
      if (model) resolve();
    };
    api.models(show).catch((error) => {
      if (!model) $("model").replaceChildren(element("option", { text: "none" }));
      note(`${error.message} Load this page again to try again.`);
      resolve();
    });
  });
}

function showModels() {
  const options = (chosenOne, but) =>
    models.map((one) => {
      const named = one.title && one.title !== one.name ? `${one.name}: ${one.title}` : one.name;
      const option = element("option", { value: one.name, text: named });
      option.selected = one === chosenOne;
      option.disabled = one === but;
      return option;
    });
  const waiting = () =>
    opening.map((name) => {
      const option = element("option", { value: "", text: `${name}: being opened` });
      option.disabled = true;
      return option;
    });
  $("model").replaceChildren(...options(model, null), ...waiting());
  $("other").replaceChildren(
    element("option", { value: "", text: "no other" }),
    ...options(other, model),
    ...waiting(),
  );
  $("model").disabled = $("other").disabled = models.length < 2;
  for (const [id, one] of [["model-verdict", model], ["other-verdict", other]]) {
    const { kind, words, sentence } = one ? audit(one) : {};
    $(id).hidden = !one;
    $(id).className = `chip ${kind}`;
    $(id).textContent = words ?? "";
    $(id).title = sentence ?? "";
    $(id).disabled = !one || !moreOf(one);
    $(id).onclick = () => about(one);
  }
}

async function about(one) {
  try {
    tellOf($("about-panel"), one, await api.known(one));
  } catch (error) {
    note(`Nothing more of ${one.name}: ${error.message}`);
  }
}

$("model").addEventListener("change", (event) => {
  model = models.find(({ name }) => name === event.target.value);
  if (other === model) other = null;
  showModels();
  askForAll();
});

$("other").addEventListener("change", (event) => {
  other = models.find(({ name }) => name === event.target.value) ?? null;
  showModels();
  askForAll();
});

const inUse = () => [model, other].filter(Boolean);

// Images in

function add(found) {
  if (!found.length) return note("No images among what was given.");
  const first = images.length === 0;
  for (const { file, path } of found) {
    const image = { id: (numbered += 1), file, path, answers: new Map(), view: { ...OPENING } };
    images.push(image);
    worklist.add(image);
    ask(image);
  }
  $("main").classList.remove("empty-list");
  if (first) {
    select(images[0]);
    if (document.activeElement === document.body || $("empty").contains(document.activeElement)) {
      $("images").focus();
    }
  }
  showSummary();
  return say(`${found.length} ${found.length === 1 ? "image" : "images"} added.`);
}

function remove(image) {
  const place = images.indexOf(image);
  takeOff([image]);
  if (image === selected) select(images[Math.min(place, images.length - 1)] ?? null);
}

function clear() {
  queue.clear();
  takeOff([...images]);
  select(null);
  $("choose-files").focus();
}

let undoDue = null;

/** Take images off the list, and offer to put them back, with what was answered. */
function takeOff(some) {
  const before = [...images];
  for (const image of some) {
    images.splice(images.indexOf(image), 1);
    forget(image);
    worklist.remove(image);
  }
  $("main").classList.toggle("empty-list", !images.length);
  showSummary();
  const undo = () => {
    // What was added since stays, behind them.
    putBack([...before, ...images.filter((image) => !before.includes(image))]);
    select(some[0]);
  };
  note(some.length === 1 ? `${shown(some[0].file.name)} taken off the list.` : `${some.length} images taken off the list.`, "Undo", undo);
  clearTimeout(undoDue);
  undoDue = setTimeout(() => noteAct === undo && note(""), UNDO_MS);
}

function putBack(all) {
  for (const image of images.splice(0)) worklist.remove(image);
  images.push(...all);
  for (const image of all) {
    worklist.add(image);
    // What was waiting when it was taken off is asked for again.
    for (const entry of image.answers.values()) {
      if (["waiting", "sending"].includes(entry.state)) entry.state = "new";
      if (entry.answer && entry.answer.status !== "error") worklist.mayAppear(image);
    }
    ask(image);
  }
  $("main").classList.remove("empty-list");
  showSummary();
}

for (const [button, input] of [
  ["choose-files", "file-input"],
  ["choose-files-again", "file-input"],
  ["choose-folder", "folder-input"],
]) {
  $(button).addEventListener("click", () => $(input).click());
}
for (const id of ["file-input", "folder-input"]) {
  $(id).addEventListener("change", (event) => {
    const found = chosen(event.target.files);
    event.target.value = "";
    add(found);
  });
}
$("clear").addEventListener("click", clear);

$("find").addEventListener("input", (event) => {
  worklist.arrange({ find: event.target.value });
  showSummary();
});
$("sort").addEventListener("change", (event) => worklist.arrange({ sort: event.target.value }));

// Whatever got no answer, since the server was away or refused: asked for again, all at once.
$("again").addEventListener("click", () => {
  for (const image of images) {
    for (const entry of image.answers.values()) if (entry.state === "failed") entry.state = "new";
    ask(image);
  }
  if (selected) show();
  showSummary();
});

let entered = 0;
addEventListener("dragenter", (event) => {
  if (!holdsFiles(event.dataTransfer)) return;
  event.preventDefault();
  entered += 1;
  $("drop").hidden = false;
});
addEventListener("dragover", (event) => {
  if (holdsFiles(event.dataTransfer)) event.preventDefault();
});
addEventListener("dragleave", (event) => {
  if (!holdsFiles(event.dataTransfer)) return;
  entered = Math.max(0, entered - 1);
  $("drop").hidden = entered === 0;
});
addEventListener("drop", async (event) => {
  if (!holdsFiles(event.dataTransfer)) return;
  event.preventDefault();
  entered = 0;
  $("drop").hidden = true;
  const { found, lost } = await dropped(event.dataTransfer);
  if (found.length || !lost) add(found);
  if (lost) note(`${lost} of what was given cannot be read.`);
});

// Answers, a few at a time, the image that is looked at first

function entryOf(image, { name }) {
  if (!image.answers.has(name)) image.answers.set(name, { state: "new" });
  return image.answers.get(name);
}

function ask(image) {
  for (const one of inUse()) {
    const entry = entryOf(image, one);
    if (entry.state === "new") {
      entry.state = "waiting";
      queue.add({ image, model: one });
    } else if (wantsExplanation(image, one)) {
      entry.explaining = true;
      queue.add({ image, model: one });
    }
  }
  showState(image);
}

function askForAll() {
  images.forEach(ask);
  if (selected) show();
  showSummary();
}

// A heat map costs the server much more than a score: it is made where it will be looked at.
function wantsExplanation(image, one) {
  const { state, answer, explaining, unexplained } = entryOf(image, one);
  const wanted = image.explain || (image === selected && viewer.heat.on);
  const open = state === "done" && answer.status === "ok" && !answer.heat_map;
  return wanted && open && one.explains && !explaining && !unexplained;
}

const queue = new Queue(AT_ONCE, ({ image }) => image === selected, assess);

async function assess({ image, model: one }) {
  const entry = entryOf(image, one);
  if (!images.includes(image)) return;
  if (!inUse().includes(one)) {
    if (entry.state === "waiting") entry.state = "new";
    entry.explaining = false;
    return;
  }
  if (entry.explaining && !image.explain && image !== selected) {
    entry.explaining = false; // It was looked at, and is not any more.
    return;
  }
  if (!entry.explaining) entry.state = "sending";
  update(image);
  try {
    const body = await api.predict(image.file, one.name, entry.explaining);
    const [answer] = body.answers;
    Object.assign(entry, { state: "done", body, answer });
    version = body.version ?? version;
    entry.overlay = await overlayOf(answer.heat_map).catch(() => null);
    if (answer.status !== "error") worklist.mayAppear(image);
    if (entry.explaining) entry.unexplained = entry.overlay ? "" : "No heat map of this image";
    else if (image === selected) tell(image, one, answer);
  } catch (error) {
    if (entry.explaining) entry.unexplained = error.message;
    else Object.assign(entry, { state: "failed", failure: error.message });
    if (image === selected) say(`No answer: ${error.message}`);
  }
  entry.explaining = false;
  update(image);
}

function tell(image, one, answer) {
  const { text } = inShort({ state: "done", answer });
  const ok = answer.status === "ok";
  const rest = ok ? [inWords(answer), ...answer.warnings] : [text, answer.message];
  say(`${shown(image.file.name)}, ${one.name}: ${rest.join(". ")}`);
}

// What is on the screen

function update(image) {
  showState(image);
  showSummary();
  if (image !== selected) return;
  // A heat map may have been asked for while the answer was under way.
  ask(image);
  show();
}

function showState(image) {
  const states = inUse().map((one) => inShort(entryOf(image, one)));
  if (!states.length) return;
  const worst = ["sending", "waiting", "lost", "error", "refused", "ok"].find((kind) =>
    states.some((state) => state.kind === kind),
  );
  const { answer } = entryOf(image, model);
  const score = answer?.status === "ok" ? Math.max(...Object.values(answer.probabilities)) : undefined;
  worklist.state(image, { kind: worst, text: [...new Set(states.map(({ text }) => text))].join(" / "), score });
}

let summaryDue = false;
function showSummary() {
  if (summaryDue) return;
  summaryDue = true;
  requestAnimationFrame(() => {
    summaryDue = false;
    const kinds = images.map((image) => inUse().map((one) => inShort(entryOf(image, one)).kind));
    const count = (kind) => kinds.filter((of) => of.includes(kind)).length;
    const answered = kinds.filter((of) => of.length && !of.some((kind) => ["waiting", "sending", "lost"].includes(kind))).length;
    const parts = [`${images.length} ${images.length === 1 ? "image" : "images"}`, `${answered} answered`];
    if (count("refused")) parts.push(`${count("refused")} not assessed`);
    if (count("error")) parts.push(`${count("error")} not read`);
    if (count("lost")) parts.push(`${count("lost")} without an answer`);
    if (worklist.shown < images.length) parts.push(`${worklist.shown} shown`);
    $("summary").textContent = images.length ? parts.join(", ") : "None yet";
    $("arrange").hidden = images.length < 2;
    $("again").hidden = !count("lost");
    $("progress").max = Math.max(1, images.length);
    $("progress").value = answered;
    $("progress").hidden = !images.length || answered === images.length;
    $("clear").hidden = !images.length;
    for (const button of $("downloads").querySelectorAll("button")) button.disabled = !answered;
  });
}

async function select(image) {
  selected = image;
  worklist.select(image);
  $("answer").replaceChildren(primer);
  viewer.show(null, image?.view ?? { ...OPENING });
  viewer.layers([{}]);
  stageMessage("");
  cancelAllBut(image);
  if (!image) return;
  show();
  $("results").scrollTop = 0;
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  if (image !== selected) return;
  ask(image);
  try {
    const decoded = await pictureOf(image);
    if (image !== selected) return;
    viewer.show(decoded, image.view);
    worklist.draw(image, decoded.picture);
  } catch (error) {
    if (image === selected) stageMessage(error.message);
  }
}

function show() {
  const image = selected;
  const cards = inUse().map((one) => {
    const entry = entryOf(image, one);
    const again = () => {
      entry.state = "new";
      ask(image);
      show();
    };
    const explain = () => {
      image.explain = true;
      entry.unexplained = "";
      ask(image);
      show();
    };
    return card(entry, one, { again, explain, about: () => about(one) });
  });
  const answers = inUse().map((one) => entryOf(image, one).answer);
  const differ = answers.length > 1 && answers.every((answer) => answer?.status === "ok" && !answer.findings) && answers[0].label !== answers[1].label;
  const held = $("answer").contains(document.activeElement);
  $("answer").replaceChildren(
    ...(differ ? [element("p", { class: "differ", text: "The two models disagree on this image." })] : []),
    element("div", { class: cards.length > 1 ? "cards two" : "cards" }, ...cards),
  );
  if (held) $("results").focus({ preventScroll: true });
  viewer.layers(inUse().map((one) => ({ caption: one.name, overlay: entryOf(image, one).overlay })));
  showViewer(viewer);
}

function stageMessage(text) {
  $("stage-message").textContent = text;
  $("stage-message").hidden = !text;
}

let noteAct = null; // what the button of the note does besides closing it

/** Say something that is not of the image that is looked at; its button may do something else than close. */
function note(text, button = "Close", act = null) {
  noteAct = act;
  $("note-text").textContent = text;
  $("note-close").textContent = button;
  $("note").hidden = !text;
  say(text);
}

$("note-close").addEventListener("click", () => {
  const act = noteAct;
  note("");
  act?.();
});

let sayDue = null;
function say(text) {
  clearTimeout(sayDue);
  sayDue = setTimeout(() => ($("live").textContent = text), 150);
}

let drawing = Promise.resolve();
function appear(image) {
  if (!image || image.drawn) return;
  image.drawn = true;
  drawing = drawing.then(async () => {
    if (!images.includes(image)) return;
    try {
      worklist.draw(image, await thumbnailOf(image));
    } catch {
      // a list without this picture is a list still
    }
  });
}

// The viewer's knobs

const worklist = new Worklist($("images"), { select, remove, appear });
const viewer = new Viewer($("stage"), showViewer);

function showViewer(shownViewer) {
  const { view, heat, image, scale, tool } = shownViewer;
  $("window").value = view.window;
  $("level").value = view.level;
  $("invert").setAttribute("aria-pressed", String(view.invert));
  $("heat").setAttribute("aria-pressed", String(heat.on));
  $("opacity").value = Math.round(100 * heat.opacity);
  for (const button of document.querySelectorAll("[data-tool].tool")) {
    button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
  }
  $("corner-name").textContent = selected ? shown(selected.file.name) : "";
  $("corner-grey").textContent = image ? `W ${view.window}  L ${view.level}${view.invert ? "  inverted" : ""}` : "";
  $("corner-size").textContent = image ? `${image.width} × ${image.height}   ${Math.round(100 * scale)} %` : "";
  if (selected && heat.on && image) {
    const entries = inUse().map((one) => entryOf(selected, one));
    const scored = entries.filter(({ answer }) => answer?.status === "ok");
    const lacking = scored.find(({ overlay }) => !overlay);
    const coming = scored.some(({ explaining }) => explaining);
    stageMessage(coming ? "The heat map is being made" : lacking ? lacking.unexplained || "No heat map of this model" : "");
  } else if (image) {
    stageMessage("");
  }
}

function setHeat(heat) {
  viewer.setHeat(heat);
  if (selected && heat.on) {
    for (const one of inUse()) entryOf(selected, one).unexplained = "";
    ask(selected);
    show();
  }
}

$("toolbar").addEventListener("click", (event) => {
  const tool = event.target.closest("[data-tool]")?.dataset.tool;
  if (tool) viewer.setTool(tool);
});
$("zoom-in").addEventListener("click", () => viewer.zoomBy(1.25));
$("zoom-out").addEventListener("click", () => viewer.zoomBy(0.8));
$("fit").addEventListener("click", () => viewer.fit());
$("actual").addEventListener("click", () => viewer.actualSize());
$("invert").addEventListener("click", () => viewer.setGreys({ invert: !viewer.view.invert }));
$("reset").addEventListener("click", () => viewer.reset());
$("heat").addEventListener("click", () => setHeat({ on: !viewer.heat.on }));
$("window").addEventListener("input", (event) => viewer.setGreys({ window: event.target.valueAsNumber }));
$("level").addEventListener("input", (event) => viewer.setGreys({ level: event.target.valueAsNumber }));
$("opacity").addEventListener("input", (event) => setHeat({ on: true, opacity: event.target.valueAsNumber / 100 }));

// Keys

function selectBeside(steps) {
  const image = worklist.beside(steps);
  if (image) select(image);
}

const acts = {
  nextImage: () => selectBeside(1),
  previousImage: () => selectBeside(-1),
  heat: () => setHeat({ on: !viewer.heat.on }),
  stronger: (by) => setHeat({ on: true, opacity: viewer.heat.opacity + by }),
  help: () => $("help-panel").showModal(),
  escape: () => ($("downloads").open = false),
};
listenToKeys(viewer, $("stage"), acts, () => $("single-keys").checked);
$("help").addEventListener("click", acts.help);

// Downloads

function answersOf(some) {
  return some.flatMap((image) =>
    inUse().map((one) => {
      const entry = entryOf(image, one);
      const done = entry.state === "done";
      const answer = done ? entry.answer : noAnswer(one, entry.failure || "Not answered yet.");
      return { ...answer, file: image.path };
    }),
  );
}

// An image that is left out of a table would pass for one that was never given.
function noAnswer(one, message) {
  const said = { status: "error", code: "no_answer", message, label: null, probabilities: {} };
  return { file: "", ...said, calibrated: false, temperature: null, model: one.model, warnings: [], ms: 0 };
}

function inParts(some) {
  const parts = [];
  let bytes = 0;
  for (const { file } of some) {
    bytes += file.size;
    if (!parts.length || parts.at(-1).length >= IN_A_REPORT || bytes > REPORT_BYTES) {
      parts.push([]);
      bytes = file.size;
    }
    parts.at(-1).push(file);
  }
  return parts;
}

let reporting = null; // what cancels the report that is being made

async function saveReport(some) {
  reporting?.abort();
  const cancel = (reporting = new AbortController());
  const stop = () => {
    cancel.abort();
    if (reporting === cancel) reporting = null;
  };
  let before = 0;
  const words = (done) => `The report is being made: ${before + done} of ${some.length} images.`;
  // Said once; afterwards it is there to be read.
  const show = (done) => noteAct === stop && ($("note-text").textContent = words(done));
  note(words(0), "Cancel", stop);
  try {
    const parts = inParts(some);
    for (const [at, part] of parts.entries()) {
      const number = parts.length > 1 ? `-${at + 1}` : "";
      const pdf = await api.report(part, model.name, other?.name, show, cancel.signal);
      save(`report${number}.pdf`, pdf, "application/pdf");
      before += part.length;
    }
    if (noteAct === stop) note("");
    say("The report is saved.");
  } catch (error) {
    if (cancel.signal.aborted) say("The report was cancelled.");
    else note(`No report: ${error.message}`);
  } finally {
    if (reporting === cancel) reporting = null;
  }
}

const DOWNLOADS = {
  "save-csv": () => save("answers.csv", asCsv(answersOf(images), intendedUse), "text/csv;charset=utf-8"),
  "save-json": () => save("answers.json", asJson(answersOf(images), intendedUse, version), "application/json"),
  "save-pdf": () => selected && saveReport([selected]),
  "save-pdf-all": () => saveReport([...images]),
};
for (const [id, download] of Object.entries(DOWNLOADS)) {
  $(id).addEventListener("click", () => {
    $("downloads").open = false;
    $("downloads").querySelector("summary").focus();
    download();
  });
}
document.addEventListener("click", (event) => {
  if (!$("downloads").contains(event.target)) $("downloads").open = false;
});

// A token, where the server asks for one

api.onTokenNeeded(
  (refused) =>
    new Promise((resolve) => {
      const panel = $("token-panel");
      $("token-wrong").hidden = !refused;
      $("token").value = "";
      panel.returnValue = "";
      panel.addEventListener("close", () => resolve(panel.returnValue === "use" ? $("token").value : null), { once: true });
      panel.showModal();
    }),
);

showSummary();
openCatalogue().then(askForAll);
