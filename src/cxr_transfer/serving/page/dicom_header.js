// The header of a DICOM file, read in the browser, so that a reader sees whose image it is.
// Nothing that is read here leaves the page: it is not sent, stored, logged or exported.
// No pixel is decoded here; the server does that, once.

import { decoded } from "./character_sets.js";
import { shown } from "./elements.js";

const READ_BYTES = 2 ** 20; // headers end before: what is longer is read as far as that
const LONGEST = 128; // characters of a value that are shown
const DEFLATED = "1.2.840.10008.1.2.1.99";
const META_START = 132;

const TEXTS = {
  name: "x00100010",
  id: "x00100020",
  born: "x00100030",
  sex: "x00100040",
  age: "x00101010",
  studied: "x00080020",
  accession: "x00080050",
  institution: "x00080080",
  study: "x00081030",
  modality: "x00080060",
  maker: "x00080070",
  device: "x00081090",
  intent: "x00080068",
  view: "x00185101",
  orientation: "x00200020",
  imageLaterality: "x00200062",
  laterality: "x00200060",
  bodyPart: "x00180015",
  lossy: "x00282110",
  lossyRatio: "x00282112",
  lossyMethod: "x00282114",
  syntax: "x00020010",
  burnedIn: "x00280301",
};
const NUMBERS = { stored: "x00280101", allocated: "x00280100" };
const DATES = ["born", "studied"];

let coming = null;

/** Load the parser, from this server, when it is first needed. */
function parser() {
  coming ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "dicom-parser.min.js";
    script.onload = () => resolve(globalThis.dicomParser);
    script.onerror = () => {
      coming = null;
      reject(new Error("The parser cannot be loaded."));
    };
    document.head.append(script);
  });
  return coming;
}

/**
 * Return what the header of a file says, as text by the names above and numbers (stored,
 * allocated); null for a file that is not DICOM. What cannot be read is "" or null.
 */
export async function headerOf(file) {
  try {
    const bytes = asPart10(new Uint8Array(await file.slice(0, READ_BYTES).arrayBuffer()));
    if (!bytes) return null;
    const { parseDicom, readPart10Header } = await parser();
    return read(await elementsOf(bytes, parseDicom, readPart10Header));
  } catch {
    return null; // Whatever it is, the server says what is wrong with it.
  }
}

// As a file of PS3.10 begins; those without a preamble, or without a meta header, get one.
function asPart10(bytes) {
  const word = (at) => bytes[at] | (bytes[at + 1] << 8);
  if (ascii(bytes.subarray(128, META_START)) === "DICM") return bytes;
  const isHeader = bytes.length > 16 && [0x0002, 0x0008].includes(word(0)) && word(2) <= 0x0018;
  if (!isHeader) return null;
  const meta = word(0) === 0x0002 ? [] : syntaxElement(/^[A-Z]{2}$/.test(ascii(bytes.subarray(4, 6))));
  const whole = new Uint8Array(META_START + meta.length + bytes.length);
  whole.set([...("DICM")].map((sign) => sign.charCodeAt(0)), 128);
  whole.set(meta, META_START);
  whole.set(bytes, META_START + meta.length);
  return whole;
}

function syntaxElement(isExplicit) {
  const uid = isExplicit ? "1.2.840.10008.1.2.1\0" : "1.2.840.10008.1.2\0";
  return [0x02, 0x00, 0x10, 0x00, 0x55, 0x49, uid.length, 0x00, ...[...uid].map((sign) => sign.charCodeAt(0))];
}

const ascii = (bytes) => String.fromCharCode(...bytes);

async function elementsOf(bytes, parseDicom, readPart10Header) {
  const options = { untilTag: "x7fe00010" };
  const meta = readPart10Header(bytes);
  if (meta.string("x00020010") === DEFLATED) {
    const inflated = await inflate(bytes.subarray(meta.position));
    options.inflater = (all, position) => {
      const whole = new Uint8Array(position + inflated.length);
      whole.set(all.subarray(0, position));
      whole.set(inflated, position);
      return whole;
    };
  }
  try {
    return parseDicom(bytes, options);
  } catch (error) {
    if (error?.dataSet?.elements) return error.dataSet; // what stands before the place that is wrong
    throw error;
  }
}

/** Inflate what there is, at most as much as is read of any file. */
async function inflate(bytes) {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const inflated = new Uint8Array(READ_BYTES);
  let length = 0;
  try {
    while (length < READ_BYTES) {
      const { done, value } = await reader.read();
      if (done) break;
      const part = value.subarray(0, READ_BYTES - length);
      inflated.set(part, length);
      length += part.length;
    }
  } catch {
    // The file is longer than what was taken of it, or damaged: what came is read.
  }
  reader.cancel().catch(() => {});
  return inflated.subarray(0, length);
}

function read(dataSet) {
  const set = text(dataSet, "x00080005", "");
  const header = {};
  for (const [name, tag] of Object.entries(TEXTS)) header[name] = text(dataSet, tag, set);
  for (const [name, tag] of Object.entries(NUMBERS)) header[name] = number(dataSet, tag);
  for (const name of DATES) header[name] = header[name].replace(/^(\d{4})\.?(\d{2})\.?(\d{2})$/, "$1-$2-$3");
  header.name = personName(header.name);
  header.charset = set;
  return header;
}

function text(dataSet, tag, set) {
  try {
    const { dataOffset, length } = dataSet.elements[tag] ?? {};
    if (!length) return "";
    const bytes = dataSet.byteArray.subarray(dataOffset, dataOffset + Math.min(length, 4 * LONGEST));
    const whole = decoded(bytes, set).replace(/[\s\0]+$/, "").trim();
    return shown([...whole].slice(0, LONGEST).join(""));
  } catch {
    return "";
  }
}

function number(dataSet, tag) {
  try {
    return dataSet.uint16(tag) ?? null;
  } catch {
    return null;
  }
}

/** Return "Family^Given^Middle^Prefix^Suffix" as "Family, Given Middle", other scripts in brackets. */
function personName(value) {
  const [first, ...others] = value
    .split("=")
    .map((group) => {
      const [family = "", ...given] = group.split("^").map((part) => part.trim());
      return [family, given.filter(Boolean).join(" ")].filter(Boolean).join(", ");
    })
    .filter(Boolean);
  return others.length ? `${first} (${others.join("; ")})` : (first ?? "");
}
