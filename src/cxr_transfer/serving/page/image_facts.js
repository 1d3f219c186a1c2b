// Facts of an image as a reader needs them: whose it is, how it was taken, how large a pixel is.
// Of the header that was read in this browser and of the image as it was decoded; asks nobody.

import { LATERALITIES, NO_SPACING, SPACINGS, VIEWS } from "./words.js";

const SMALLEST_MM = 0.001; // a pixel spacing outside these is an error of whoever wrote it
const LARGEST_MM = 5;

const CODINGS = {
  "1.2.840.10008.1.2": "uncompressed",
  "1.2.840.10008.1.2.1": "uncompressed",
  "1.2.840.10008.1.2.1.99": "deflated, without loss",
  "1.2.840.10008.1.2.2": "uncompressed",
  "1.2.840.10008.1.2.4.50": "JPEG, lossy",
  "1.2.840.10008.1.2.4.51": "JPEG, lossy",
  "1.2.840.10008.1.2.4.57": "JPEG, without loss",
  "1.2.840.10008.1.2.4.70": "JPEG, without loss",
  "1.2.840.10008.1.2.4.80": "JPEG-LS, without loss",
  "1.2.840.10008.1.2.4.81": "JPEG-LS, near lossless",
  "1.2.840.10008.1.2.4.90": "JPEG 2000, without loss",
  "1.2.840.10008.1.2.4.91": "JPEG 2000",
  "1.2.840.10008.1.2.5": "run lengths, without loss",
};

function pair(value) {
  const numbers = value.split("\\").map(Number);
  const sound = numbers.length === 2 && numbers.every((one) => one >= SMALLEST_MM && one <= LARGEST_MM);
  return sound ? numbers : null;
}

/**
 * Return the size of a pixel in mm, {down, across, source}; null where none is known.
 *
 * DICOM PS3.3 10.7.1.1: what the values mean depends on where they stand. A header that is of another
 * size than the image that is shown says nothing of its pixels.
 */
export function spacingOf(header, image) {
  if (!header || !image || header.columns !== image.width || header.rows !== image.height) return null;
  const said = pair(header.pixelSpacing);
  const detector = pair(header.imagerSpacing);
  const film = pair(header.scannedSpacing);
  const sized = (numbers, source) => ({ down: numbers[0], across: numbers[1], source });
  if (said) {
    if (["GEOMETRY", "FIDUCIAL"].includes(header.calibration)) return sized(said, "calibrated");
    const isDetector = detector && said.every((one, place) => Math.abs(one - detector[place]) < 1e-4 * one);
    return sized(said, isDetector ? "detector" : "unclear");
  }
  if (detector) return sized(detector, "detector");
  return film ? sized(film, "film") : null;
}

/** Return why a cardiothoracic ratio of an image means little: a key of `RATIO.limits`; "" for nothing. */
export function ratioLimit(header) {
  if (/portable|bedside|mobile/i.test(header?.study ?? "")) return "portable";
  if (!header?.view) return "unknown";
  return { PA: "", AP: "AP" }[header.view] ?? "other";
}

/** Return whose image it is and when it was taken, a line each: for the eyes of who looks, nothing else. */
export function patientLines(header) {
  if (!header) return [];
  const { name, id, born, sex, age, studied, accession, study, institution } = header;
  return [
    name,
    [id && `ID ${id}`, born && `born ${born}`, sex, age].filter(Boolean).join(" · "),
    [studied, study].filter(Boolean).join(" · "),
    [accession && `accession ${accession}`, institution].filter(Boolean).join(" · "),
  ].filter(Boolean);
}

function compression(header) {
  const said = { "01": "yes", "00": "no" }[header.lossy];
  const [method, ratio] = [header.lossyMethod, header.lossyRatio].map((value) => value.split("\\").join(", "));
  if (said === "yes") return ["yes", method, ratio && `${ratio} : 1`].filter(Boolean).join(", ");
  return said ?? "not said";
}

export function spacingWords(spacing) {
  if (!spacing) return NO_SPACING;
  const { down, across, source } = spacing;
  const size = down === across ? `${written(down)} mm` : `${written(down)} mm down, ${written(across)} mm across`;
  return `${size}, ${SPACINGS[source]}`;
}

const written = (number) => String(Number(number.toPrecision(4)));

/** Return facts as [name, value] for a list; what is not known is said, where a reader would look for it. */
export function factsOf(header, image, server = null) {
  const size = image ? `${image.width} × ${image.height} pixels` : "";
  const rows = [["Size", size], ["Format", server?.format ?? (header ? "DICOM" : "")]];
  if (!header) {
    rows.push(["Bits", server?.bits ? String(server.bits) : ""], ["Pixel spacing", image ? NO_SPACING : ""]);
    return rows.filter(([, value]) => value);
  }
  const side = header.imageLaterality || header.laterality;
  rows.push(
    ["View", header.view ? (VIEWS[header.view] ?? header.view) : "not said"],
    ["Laterality", LATERALITIES[side] ?? side],
    ["Body part", header.bodyPart],
    ["Orientation", header.orientation.replace("\\", " / ")],
    ["Bits", header.stored ? `${header.stored} stored, ${header.allocated ?? "?"} allocated` : ""],
    ["Pixel spacing", image ? spacingWords(spacingOf(header, image)) : ""],
    ["Lossy compression", compression(header)],
    ["Coding", CODINGS[header.syntax] ?? header.syntax],
    ["Modality", [header.modality, header.intent.toLowerCase()].filter(Boolean).join(", ")],
    ["Device", [header.maker, header.device].filter(Boolean).join(" ")],
    ["Burnt-in text", { YES: "yes, by the header", NO: "no, by the header" }[header.burnedIn]],
  );
  return rows.filter(([, value]) => value);
}
