// Texts of DICOM headers in the character sets that they name (PS3.3 C.12.1.1.2, PS3.5 6.1).
// Decoded by the browser's own TextDecoder; what it does not know stays legible where it is ASCII.

const SINGLE = {
  "": "windows-1252", // no set is named: ASCII by the standard, and often Latin 1
  "ISO_IR 6": "windows-1252",
  "ISO_IR 100": "windows-1252",
  "ISO_IR 101": "iso-8859-2",
  "ISO_IR 109": "iso-8859-3",
  "ISO_IR 110": "iso-8859-4",
  "ISO_IR 126": "iso-8859-7",
  "ISO_IR 127": "iso-8859-6",
  "ISO_IR 138": "iso-8859-8",
  "ISO_IR 144": "iso-8859-5",
  "ISO_IR 148": "windows-1254",
  "ISO_IR 203": "iso-8859-15",
  "ISO_IR 13": "shift_jis",
  "ISO_IR 166": "windows-874",
  "ISO_IR 192": "utf-8",
  GB18030: "gb18030",
  GBK: "gbk",
};

// Escape sequences, without the escape itself. "euc" marks sets of two 7-bit bytes.
const ESCAPES = {
  "(B": ["windows-1252"],
  "(J": ["shift_jis"],
  ")I": ["shift_jis"],
  "-A": ["windows-1252"],
  "-B": ["iso-8859-2"],
  "-C": ["iso-8859-3"],
  "-D": ["iso-8859-4"],
  "-F": ["iso-8859-7"],
  "-G": ["iso-8859-6"],
  "-H": ["iso-8859-8"],
  "-L": ["iso-8859-5"],
  "-M": ["windows-1254"],
  "-T": ["windows-874"],
  "-b": ["iso-8859-15"],
  $B: ["euc-jp", "euc"],
  "$(D": ["euc-jp", "euc", 0x8f],
  "$)C": ["euc-kr"],
  "$)A": ["gbk"],
};
const ESCAPE = 0x1b;

function decoder(label) {
  try {
    return new TextDecoder(label);
  } catch {
    return new TextDecoder("windows-1252"); // a browser that does not know it
  }
}

/** Return bytes as text; `named` is the value of SpecificCharacterSet, or "". */
export function decoded(bytes, named) {
  const [first, ...more] = named.split("\\").map((name) => name.trim().replace("ISO 2022 IR", "ISO_IR"));
  const usual = SINGLE[first] ?? SINGLE[""];
  if (!bytes.includes(ESCAPE) || !(more.length || named.includes("2022"))) return decoder(usual).decode(bytes);
  return segments(bytes)
    .map(([escape, part]) => {
      const [label, kind, lead] = ESCAPES[escape] ?? [usual];
      return decoder(label).decode(kind === "euc" ? inHighBytes(part, lead) : part);
    })
    .join("");
}

// Parts of a text, each with the sequence that stands before it.
function segments(bytes) {
  const found = [];
  let escape = "";
  let start = 0;
  for (let at = bytes.indexOf(ESCAPE); at >= 0; at = bytes.indexOf(ESCAPE, start)) {
    found.push([escape, bytes.subarray(start, at)]);
    const after = String.fromCharCode(...bytes.subarray(at + 1, at + 4));
    escape = Object.keys(ESCAPES).find((one) => after.startsWith(one)) ?? "";
    start = at + 1 + escape.length;
  }
  return [...found, [escape, bytes.subarray(start)]].filter(([, part]) => part.length);
}

// JIS X 0208 and 0212 as EUC writes them: every byte with its highest bit.
function inHighBytes(part, lead) {
  const high = [];
  for (let at = 0; at < part.length; at += 2) {
    if (lead) high.push(lead);
    high.push(part[at] | 0x80, (part[at + 1] ?? 0) | 0x80);
  }
  return Uint8Array.from(high);
}
