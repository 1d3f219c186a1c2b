// Facts of an image as a reader needs them: whose it is, how it was taken, how large a pixel is.
// Of the header that was read in this browser and of what the server tells of the image; asks nobody.

import { LATERALITIES, NO_SPACING, SPACINGS, VIEWS } from "./words.js";

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

/**
 * Return the size of a pixel in mm, {down, across, source, magnification}; null where none is known.
 *
 * The server tells which attribute it is of, `image.facts`; where the file has that of the detector and says of no
 * other one how it was calibrated, that is it (DICOM PS3.3 10.7.1.3).
 */
export function spacingOf(image) {
  const said = image?.facts?.spacing;
  if (!said) return null;
  const { row: down, column: across, source: from, calibration, magnification } = said;
  const source = {
    ImagerPixelSpacing: "detector",
    NominalScannedPixelSpacing: "film",
    PixelSpacing: calibration ? "calibrated" : "unclear",
  }[from];
  return { down, across, source, magnification };
}

const viewOf = (header, image) => image?.facts?.view || header?.view || "";

/** Return why a cardiothoracic ratio of an image means little: a key of `RATIO.limits`; "" for nothing. */
export function ratioLimit(header, image) {
  if (/portable|bedside|mobile/i.test(header?.study ?? "")) return "portable";
  const view = viewOf(header, image);
  if (!view) return "unknown";
  return { PA: "", AP: "AP" }[view] ?? "other";
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

function compression(header, facts) {
  const isLossy = facts ? facts.lossy : { "01": true, "00": false }[header.lossy];
  if (isLossy !== true) return isLossy === false ? "no" : "not said";
  const ratio = facts?.lossy_ratio ?? header?.lossyRatio.split("\\").join(", ");
  return ["yes", header?.lossyMethod.split("\\").join(", "), ratio && `${ratio} : 1`].filter(Boolean).join(", ");
}

export function spacingWords(spacing) {
  if (!spacing) return NO_SPACING;
  const { down, across, source, magnification } = spacing;
  const size = down === across ? `${written(down)} mm` : `${written(down)} mm down, ${written(across)} mm across`;
  const times = magnification ? `; the file estimates a magnification of ${written(magnification)}` : "";
  return `${size}, ${SPACINGS[source]}${times}`;
}

const written = (number) => String(Number(number.toPrecision(4)));

/** Return facts as [name, value] for a list; what is not known is said, where a reader would look for it. */
export function factsOf(header, image) {
  const facts = image?.facts;
  const view = viewOf(header, image);
  const side = facts?.laterality || header?.imageLaterality || header?.laterality;
  const stored = header?.stored ? `${header.stored} stored, ${header.allocated ?? "?"} allocated` : String(facts?.bits ?? "");
  const rows = [
    ["Size", image ? `${image.width} × ${image.height} pixels` : ""],
    ["Format", facts?.format ?? (header ? "DICOM" : "")],
    ["View", view ? (VIEWS[view] ?? view) : "not said"],
    ["Laterality", LATERALITIES[side] ?? side],
    ["Bits", stored],
    ["Pixel spacing", image ? spacingWords(spacingOf(image)) : ""],
    ["Lossy compression", header || facts ? compression(header, facts) : ""],
    ...(header ? ofHeader(header) : []),
    ...(facts?.warnings ?? []).map((text) => ["Take note", text]),
  ];
  return rows.filter(([, value]) => value);
}

function ofHeader(header) {
  return [
    ["Coding", CODINGS[header.syntax] ?? header.syntax],
    ["Body part", header.bodyPart],
    ["Orientation", header.orientation.replace("\\", " / ")],
    ["Modality", [header.modality, header.intent.toLowerCase()].filter(Boolean).join(", ")],
    ["Device", [header.maker, header.device].filter(Boolean).join(" ")],
    ["Burnt-in text", { YES: "yes, by the header", NO: "no, by the header" }[header.burnedIn]],
  ];
}
