// What the page calls classes and reasons: one place for all words that stand for an identifier.

import { shown } from "./elements.js";

// Training classes as a reader says them; a label that is not here is shown as it is written.
const CLASSES = {
  normal: "normal",
  bacterial: "bacterial pneumonia",
  viral: "viral pneumonia",
  covid19: "COVID-19",
  other_pneumonia: "other pneumonia",
  pneumonia: "pneumonia",
  tuberculosis: "tuberculosis",
};

/** Return a class in human words. */
export function className(label) {
  return Object.hasOwn(CLASSES, label) ? CLASSES[label] : shown(String(label).replaceAll("_", " "));
}

// A heading for each reason; the server's own sentence stands below it.
export const REASONS = {
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

// Where a pixel's size comes from, as it stands behind every length.
export const SPACINGS = {
  detector: "at the detector; not corrected for magnification",
  calibrated: "calibrated in the patient, as the file says",
  unclear: "pixel spacing of the file; how it was calibrated is not said",
  film: "on the film that was scanned; not corrected for magnification",
};
export const NO_SPACING = "no pixel spacing in the file: lengths in pixels only";

export const VIEWS = { AP: "AP (front to back)", PA: "PA (back to front)", lateral: "lateral" };
export const LATERALITIES = { L: "left", R: "right", B: "both", U: "unpaired" };

// The cardiothoracic ratio: what was measured, and what it is not.
export const RATIO = {
  name: "Cardiothoracic ratio",
  definition:
    "Width of the heart over the greatest inner width of the thorax, along the line of the thorax. Defined for upright PA images in full inspiration.",
  swapped: "The heart is wider than the thorax here. Measure again: the heart first, then the thorax.",
  limits: {
    AP: "AP image: the heart is magnified. The ratio is too large and cannot be compared with one of a PA image.",
    portable: "By its description the image was taken at the bedside: the ratio is too large and cannot be compared with one of a PA image.",
    other: "Not a PA image: the ratio is not defined.",
    unknown: "The view is not known: the ratio is defined for PA images only.",
  },
};

export const HEAT_LEGEND =
  "What raised the score, from nothing to most in this image. Colours cannot be compared between images or models, and outline no finding.";

/** What dragging with the left mouse button does, by tool. */
export const TOOLS = { window: "window and level", pan: "moves the image", zoom: "zooms" };
