// The page: images in on the left, the image in the middle, answers on the right.
// Holds what there is (images, models, what is selected) and lets the other modules show it.

import { tellOf } from "./about.js";
import * as api from "./api.js";
import { element, shown } from "./elements.js";
import { headerOf } from "./dicom_header.js";
import { listenToDownloads } from "./downloads.js";
import { chosen, dropped, listenToDrops } from "./intake.js";
import { listenToKeys } from "./keys.js";
import { listenToMeasures, MeasuredList, showFacts, showMeasure } from "./measured.js";
import { note, rewrite, say, stageMessage } from "./notices.js";
import { areShown, Overlays, showAll } from "./overlays.js";
import { cancelAllBut, forget, overlayOf, pictureOf, smallOf, thumbnailOf } from "./pictures.js";
import { Queue } from "./queue.js";
import { generated } from "./generated.js";
import { ReadingPanel } from "./reading_panel.js";
import { endUndo, offerUndo } from "./removal.js";
import { audit, card, findingsOf, inShort, inWords, moreOf } from "./results.js";
import { SideBySide } from "./side_by_side.js";
import { snapshot } from "./snapshot.js";
import { copies, counted, offer, Pace } from "./summary.js";
import { askForToken } from "./token.js";
import { listenToControls, showControls } from "./view_controls.js";
import { OPENING, Viewer } from "./viewer.js";
import { className, TOOLS } from "./words.js";
import { Worklist } from "./worklist.js";

const AT_ONCE = 3; // requests for answers
const LOOK_MS = 90; // who goes through the list with a key looks at the last image, not at all of them

const $ = (id) => document.getElementById(id);
const images = [];
const seen = new Set(); // SHA-256 of images whose answers were on the page: they cannot be read blinded any more
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
  $("model").disabled = $("other").disabled = models.length < 2 || reading.isOn;
  for (const [id, one] of [["model-verdict", model], ["other-verdict", other]]) {
    const { kind, words, sentence } = one && !reading.isOn ? audit(one) : {}; // A verdict is an answer, too.
    $(id).hidden = !words;
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

async function add(found) {
  if (!found.length) return note("No images among what was given.");
  const first = images.length === 0;
  let more = found.map(({ file, path }) => {
    numbered += 1;
    return { id: numbered, file, path, answers: new Map(), view: { ...OPENING } };
  });
  if (reading.isWaiting) return reading.begin(more);
  if (reading.isOn) {
    more = await reading.admit(more);
    if (more.length) showAlone([...images, ...more]);
    return reading.next(null);
  }
  for (const image of more) {
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
  if (reading.isOn) return;
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
  offerUndo(some, before, () => images, (all, [first]) => {
    putBack(all);
    select(first);
  });
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
$("filter").addEventListener("change", (event) => {
  worklist.arrange({ only: event.target.value });
  showSummary();
});

// Whatever got no answer, since the server was away or refused: asked for again, all at once.
$("again").addEventListener("click", () => {
  for (const image of images) {
    for (const entry of image.answers.values()) if (entry.state === "failed") entry.state = "new";
    ask(image);
  }
  if (selected) show();
  showSummary();
});

listenToDrops(
  (over) => ($("drop").hidden = !over),
  async (transfer) => {
    const { found, lost } = await dropped(transfer);
    if (found.length || !lost) await add(found);
    if (lost) note(`${lost} of what was given cannot be read.`);
  },
);

$("generated").addEventListener("click", async () => {
  try {
    await add(await generated());
  } catch (error) {
    note(`No generated images: ${error.message}`);
  }
});

// Answers, a few at a time, the image that is looked at first

function entryOf(image, { name }) {
  if (!image.answers.has(name)) image.answers.set(name, { state: "new" });
  return image.answers.get(name);
}

function ask(image) {
  for (const one of reading.hides(image) ? [] : inUse()) {
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
  const wanted = image.explain || (isLookedAt(image) && viewer.heat.on);
  const open = state === "done" && answer.status === "ok" && !answer.heat_map;
  return wanted && open && one.explains && !explaining && !unexplained;
}

const queue = new Queue(AT_ONCE, ({ image }) => image === selected, assess);

async function assess({ image, model: one }) {
  const entry = entryOf(image, one);
  if (!images.includes(image)) return;
  if (!inUse().includes(one) || reading.hides(image)) {
    if (entry.state === "waiting") entry.state = "new";
    entry.explaining = false;
    return;
  }
  if (entry.explaining && !image.explain && !isLookedAt(image)) {
    entry.explaining = false; // It was looked at, and is not any more.
    return;
  }
  if (!entry.explaining && entry.state !== "waiting") return; // It was asked for anew, and is under way.
  if (!entry.explaining) entry.state = "sending";
  update(image);
  try {
    const body = await api.predict(image.file, one.name, entry.explaining, image.change);
    const [answer] = body.answers;
    Object.assign(entry, { state: "done", body, answer });
    image.sha256 = answer.sha256;
    if (!reading.hides(image)) seen.add(answer.sha256);
    version = body.version ?? version;
    entry.overlay = await overlayOf(answer.heat_map).catch(() => null);
    if (answer.status !== "error") worklist.mayAppear(image);
    if (entry.explaining) {
      entry.unexplained = entry.overlay ? "" : "No heat map of this image";
      if (image === selected) say(entry.unexplained || `The heat map of ${one.name} is there.`);
      else if (image === beside.image) say(`${nameOf(image)}: ${entry.unexplained || `the heat map of ${one.name} is there.`}`, "beside");
    } else if (image === selected) tell(image, one, answer);
  } catch (error) {
    if (entry.explaining) entry.unexplained = error.message;
    else Object.assign(entry, { state: "failed", failure: error.message });
    if (image === selected && !reading.hides(image)) say(`No answer: ${error.message}`);
  }
  entry.explaining = false;
  update(image);
}

const nameOf = (image) => reading.nameOf(image) ?? shown(image.file.name);

function tell(image, one, answer) {
  if (reading.hides(image)) return;
  const { text } = inShort({ state: "done", answer });
  const ok = answer.status === "ok";
  const rest = ok ? [inWords(answer), ...answer.warnings] : [text, answer.message];
  say(`${nameOf(image)}, ${one.name}: ${rest.join(". ")}`);
}

// What is on the screen

function update(image) {
  if (!images.includes(image)) return; // It was taken off the list meanwhile, or is no part of the study.
  showState(image);
  showSummary();
  if (!isLookedAt(image)) return;
  // A heat map may have been asked for while the answer was under way.
  ask(image);
  if (image === selected) show();
  else beside.showHeat();
}

function showState(image) {
  const read = reading.stateOf(image);
  if (read) {
    const { state, answer: known } = entryOf(image, model);
    if (state === "done") reading.answered(image, known);
    return worklist.state(image, read);
  }
  const states = inUse().map((one) => inShort(entryOf(image, one)));
  if (!states.length) return undefined;
  const worst = ["sending", "waiting", "lost", "error", "refused", "ok"].find((kind) =>
    states.some((state) => state.kind === kind),
  );
  const { answer } = entryOf(image, model);
  const score = answer?.status === "ok" ? Math.max(...Object.values(answer.probabilities)) : undefined;
  const text = [...new Set(states.map((state) => state.text))].join(" / ");
  return worklist.state(image, { kind: worst, text, score, only: [...labelsOf(image), ...states.map(({ kind }) => `is:${kind === "sending" ? "waiting" : kind}`)] });
}

/** Return the classes or findings that the models in use name of an image. */
function labelsOf(image) {
  const answers = inUse().map((one) => entryOf(image, one).answer);
  return answers.filter((answer) => answer?.status === "ok").flatMap((answer) => findingsOf(answer) ?? [answer.label]);
}

const pace = new Pace();
let summaryDue = false;
function showSummary() {
  if (summaryDue) return;
  summaryDue = true;
  requestAnimationFrame(() => {
    summaryDue = false;
    // Of what is still to be read nothing is asked, so that nothing is lost.
    const kinds = images.map((image) => (reading.hides(image) ? [] : inUse()).map((one) => inShort(entryOf(image, one)).kind));
    const { answered, lost, text } = counted(kinds, worklist.shown);
    pace.note(answered, performance.now());
    const left = pace.left(images.length - answered - lost, performance.now());
    const { done, of, text: read } = reading.isOn ? reading.progress : { done: answered, of: images.length };
    $("summary").textContent = read ?? [text, left].filter(Boolean).join(", ");
    const labels = [...new Set(images.flatMap(labelsOf))].sort();
    offer($("filter"), labels.map((value) => ({ value, text: className(value) })), kinds);
    worklist.markCopies(reading.isOn ? new Map() : copies(images));
    $("arrange").hidden = images.length < 2 || reading.isOn;
    $("again").hidden = !lost;
    $("progress").max = Math.max(1, of);
    $("progress").value = done;
    $("progress").hidden = !images.length || done === of;
    $("clear").hidden = !images.length || reading.isOn;
    $("downloads").hidden = reading.isOn;
    $("beside-line").hidden = images.length < 2 || reading.isOn;
    if (!reading.isOn) beside.list();
    for (const button of $("downloads").querySelectorAll("button")) button.disabled = !answered;
  });
}

async function select(image) {
  selected = image;
  worklist.select(image);
  $("answer").replaceChildren(primer);
  viewer.show(null, image?.view ?? { ...OPENING });
  viewer.layers([{}]);
  overlays.show([]);
  showLists();
  stageMessage("");
  cancelAllBut(image, beside.image);
  reading.watch(null);
  reading.render(image);
  if (!image) return;
  show();
  tellPlace(image);
  $("results").scrollTop = 0;
  await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  if (image !== selected) return;
  ask(image);
  try {
    const decoded = await pictureOf(image);
    if (image !== selected) return;
    viewer.show(decoded, image.view);
    image.decoded = { width: decoded.width, height: decoded.height, facts: decoded.facts };
    showOverlays();
    worklist.draw(image, smallOf(decoded));
    reading.watch(image);
    prefetch(image);
  } catch (error) {
    if (image === selected) stageMessage(error.message);
  }
}

/** Tell those who do not see it which image this is, and what is known of it. */
function tellPlace(image) {
  const place = `Image ${images.indexOf(image) + 1} of ${images.length}`;
  const { state, answer } = entryOf(image, model);
  if (reading.isOn) say(`${nameOf(image)} of ${reading.study.size}`);
  else say([`${place}: ${nameOf(image)}`, state === "done" ? inShort({ state, answer }).text : ""].filter(Boolean).join(", "));
}

/** Have the pictures of the next images ready; who goes elsewhere cancels them. */
async function prefetch(from) {
  for (const steps of [1, 2]) {
    const image = worklist.beside(steps);
    if (image && image !== from && from === selected) await pictureOf(image).catch(() => {});
  }
}

function show() {
  const image = selected;
  if (reading.hides(image)) {
    $("answer").replaceChildren();
    viewer.layers([{}]);
    return showViewer(viewer);
  }
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
  viewer.layers(
    inUse().map((one) => {
      const { overlay, answer } = entryOf(image, one);
      return { caption: one.name, overlay, changed: answer?.changed };
    }),
  );
  beside.showHeat();
  showOverlays();
  reading.answerChanged();
  return showViewer(viewer);
}

function showOverlays() {
  const image = selected;
  if (!image) return;
  // Read once, in this browser; what it says is shown when it is there.
  image.reading ??= headerOf(image.file).then((header) => {
    image.header = header;
    if (image === selected) showOverlays();
  });
  const { decoded } = image;
  const header = reading.isOn ? undefined : image.header; // It may tell what the image shows.
  const answer = (one) => (reading.hides(image) ? undefined : entryOf(image, one).answer);
  overlays.show(inUse().map((one) => ({ image, decoded, header, answer: answer(one), model: one })));
  showLists();
}

/** List what is measured and known of the image; one that is in both stages is drawn in both. */
function showLists() {
  overlays.draw();
  measured.show();
  showFacts(overlays.panes[0]);
  beside.showMeasured();
}

/** Hide all that lies over the images, or show it again. */
function toggleOverlays() {
  showAll(!areShown());
  say(areShown() ? "Texts and measurements are shown." : "Texts and measurements are hidden.");
}

/** Begin to measure on the image that was touched last. */
function measure(kind) {
  if (!selected) return;
  $("measure-menu").open = false;
  if (!areShown()) toggleOverlays();
  (beside.active === viewer ? overlays : beside).measure(kind);
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
const parts = { patient: $("corner-patient"), legend: $("legend"), scale: $("scale") };
const overlays = new Overlays(viewer, $("stage"), parts, { say, changed: showLists });
const measured = new MeasuredList($("measured"), overlays);
const beside = new SideBySide(viewer, {
  images: () => images,
  lookedAt: ask,
  answerOf: (image) => ({ ...(model ? entryOf(image, model) : {}), model }),
  heatMessage: (image) => heatMessage(image, [model].filter(Boolean)),
  changed: showLists,
  say,
});
listenToMeasures(measure, toggleOverlays);

function showViewer(shownViewer) {
  const { heat, image } = shownViewer;
  showControls(shownViewer, selected?.change, reading.isOn);
  showMeasure(shownViewer.tool);
  beside.firstChanged();
  $("heat").setAttribute("aria-pressed", String(heat.on));
  $("opacity").value = Math.round(100 * heat.opacity);
  $("corner-name").textContent = selected ? nameOf(selected) : "";
  $("heat").disabled = reading.hides(selected);
  if (selected && heat.on && image && !reading.hides(selected)) {
    stageMessage(heatMessage(selected, inUse()));
  } else if (image) {
    stageMessage("");
  }
}

/** Return why heat maps of an image are not there; "" where they are, or nothing was answered. */
function heatMessage(image, some) {
  const scored = some.map((one) => entryOf(image, one)).filter(({ answer }) => answer?.status === "ok");
  if (scored.some(({ explaining }) => explaining)) return "The heat map is being made";
  const lacking = scored.find(({ overlay }) => !overlay);
  return lacking ? lacking.unexplained || "No heat map of this model" : "";
}

const isLookedAt = (image) => image === selected || image === beside.image;

function setHeat(heat) {
  if (reading.hides(selected)) return;
  viewer.setHeat(heat);
  beside.showHeat();
  if (selected && heat.on) {
    for (const image of [selected, beside.image].filter(Boolean)) {
      for (const one of inUse()) entryOf(image, one).unexplained = "";
      ask(image);
    }
    show();
  }
}

/** Ask again for the image as a reader says that it lies, or as the file has it. */
function assessChanged(change) {
  if (reading.isOn) return;
  selected.change = change;
  selected.answers.clear();
  ask(selected);
  show();
  showSummary();
}

listenToControls(viewer, assessChanged);
$("heat").addEventListener("click", () => setHeat({ on: !viewer.heat.on }));
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
  tool(tool) {
    beside.active.setTool(tool);
    say(`Left drag: ${TOOLS[tool]}.`);
  },
  measure,
  overlays: toggleOverlays,
  unlink: () => beside.link(),
  help: () => $("help-panel").showModal(),
  escape: () => ($("downloads").open = $("measure-menu").open = false),
};
listenToKeys(() => beside.active, [$("stage"), $("stage-beside")], acts, () => $("single-keys").checked);
$("help").addEventListener("click", acts.help);

listenToDownloads({
  images: () => images,
  selected: () => selected,
  inUse,
  entryOf,
  picture: async () => viewer.image && snapshot([{ viewer, overlays }, ...beside.stages], [intendedUse]),
  terms: () => ({ intendedUse, version }),
  note,
  rewrite,
  say,
});
document.addEventListener("click", (event) => {
  for (const id of ["downloads", "measure-menu"]) if (!$(id).contains(event.target)) $(id).open = false;
});

api.onTokenNeeded(askForToken);

// A reader study: its images alone, by other names, and nothing of a model until a reading is committed

const reading = new ReadingPanel({
  images: () => images,
  models: () => models,
  model: () => model,
  hash: async (image) => (image.sha256 ??= (await api.upload(image.file)).sha256),
  async isReadable({ answers, file }) {
    const { answer } = [...answers.values()].find(({ state }) => state === "done") ?? {};
    return answer ? answer.status !== "error" : api.isReadable(file);
  },
  wasSeen: (sha256) => seen.has(sha256),
  answerOf: (image) => entryOf(image, model),
  waits: endUndo,
  terms: () => ({ intendedUse, version }),
  next: (image) => select(image),
  note,
  say,
  begin(some, of) {
    endUndo();
    note("");
    queue.clear();
    [model, other] = [of, null];
    apart = images.filter((image) => !some.includes(image));
    beside.open(null);
    $("beside").replaceChildren(); // It names files.
    for (const image of some) {
      if (image.change) image.answers.clear(); // The model answers for images as their files have them.
      image.change = null;
    }
    for (const id of ["find", "filter"]) $(id).value = "";
    worklist.arrange({ find: "", sort: ($("sort").value = "added"), only: "" });
    viewer.setHeat({ on: false });
    showAlone(some);
    showModels();
    select(null);
    $("main").classList.add("in-study");
  },
  changed(image) {
    for (const one of image ? [image] : images) ask(one);
    reading.render(selected);
    if (selected) show();
    showSummary();
  },
  end() {
    $("main").classList.remove("in-study");
    showAlone([...images, ...apart]);
    apart = [];
    showModels();
    select(images[0] ?? null);
  },
});
let apart = []; // images that are no part of the study

/** Show these images alone, in the order of the study where one is under way. */
function showAlone(some) {
  const order = (image) => (reading.isOn ? reading.study.place(image.sha256) : image.id);
  for (const image of some) image.alias = reading.nameOf(image);
  putBack([...some].sort((a, b) => order(a) - order(b)));
  if (reading.isOn) images.forEach((image) => worklist.mayAppear(image));
}

showSummary();
openCatalogue().then(askForAll);

api.onLost((isLost) => {
  $("lost").hidden = !isLost;
  if (!isLost) say("The server is back.");
});
