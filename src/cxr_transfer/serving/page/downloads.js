// What can be saved: answers as tables, a picture of what is seen, reports as PDF.
// Knows the menu of downloads; the page tells it of images and answers.

import * as api from "./api.js";
import { asCsv, asJson, save } from "./export.js";

const IN_A_REPORT = 32; // images: as many the server takes at once
const REPORT_BYTES = 100 * 1024 * 1024; // and as many bytes, so that the server keeps all of them

const $ = (id) => document.getElementById(id);

/**
 * Let the buttons of the menu save what they say.
 *
 * `page` is {images, selected, inUse, entryOf, picture, terms, note, rewrite, say}: `picture()` returns what is
 * seen as a PNG, `rewrite(act, text)` changes the note whose button does `act`, while it is there.
 */
export function listenToDownloads(page) {
  let reporting = null; // what cancels the report that is being made

  async function saveReport(some) {
    reporting?.abort();
    const cancel = (reporting = new AbortController());
    const stop = () => cancel.abort();
    const [model, other] = page.inUse();
    let before = 0;
    const words = (done) => `The report is being made: ${before + done} of ${some.length} images.`;
    // Said once; afterwards it is there to be read.
    page.note(words(0), "Cancel", stop);
    try {
      const parts = inParts(some);
      for (const [at, part] of parts.entries()) {
        const number = parts.length > 1 ? `-${at + 1}` : "";
        const pdf = await api.report(part, model.name, other?.name, (done) => page.rewrite(stop, words(done)), cancel.signal);
        save(`report${number}.pdf`, pdf, "application/pdf");
        before += part.length;
      }
      if (page.rewrite(stop, "")) page.note("");
      page.say("The report is saved.");
    } catch (error) {
      if (cancel.signal.aborted) page.say("The report was cancelled.");
      else page.note(`No report: ${error.message}`);
    } finally {
      if (reporting === cancel) reporting = null;
    }
  }

  const answers = () => answersOf(page.images(), page);
  const downloads = {
    "save-csv": () => save("answers.csv", asCsv(answers(), page.terms().intendedUse), "text/csv;charset=utf-8"),
    "save-json": () => {
      const { intendedUse, version } = page.terms();
      save("answers.json", asJson(answers(), intendedUse, version), "application/json");
    },
    "save-png": async () => {
      const picture = await page.picture();
      if (picture) save("picture.png", picture, "image/png");
    },
    "save-pdf": () => page.selected() && saveReport([page.selected()]),
    "save-pdf-all": () => saveReport([...page.images()]),
  };
  for (const [id, download] of Object.entries(downloads)) {
    $(id).addEventListener("click", () => {
      $("downloads").open = false;
      $("downloads").querySelector("summary").focus();
      download();
    });
  }
}

/** Return the answers for images, a line each for every model that is asked. */
function answersOf(images, { inUse, entryOf }) {
  return images.flatMap((image) =>
    inUse().map((one) => {
      const { state, answer, failure } = entryOf(image, one);
      const told = state === "done" ? answer : noAnswer(one, failure || "Not answered yet.");
      return { ...told, file: image.path };
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
