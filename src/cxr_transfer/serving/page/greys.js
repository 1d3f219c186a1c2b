// From values to greys, as DICOM PS3.3, C.11.2 has it: windows, sigmoids, look-up tables, inversion.
// Knows what the server tells of an image's values ("facts"); knows no pixels and no canvas.

const ENTRIES = 65536;
const PARTS = [
  // Of what the model sees, in shares of its brightness: radiographs have no unit that all share.
  { name: "Lungs: the darker 60 %", from: 0, to: 0.6 },
  { name: "Mediastinum: the brighter 60 %", from: 0.4, to: 1 },
  { name: "High contrast: the middle half", from: 0.25, to: 0.75 },
];

/** Return the ways to show an image, the first as it is assessed: [{name, function, centre, width, table}]. */
export function presetsOf(facts) {
  const [assessed, ...own] = facts.presets;
  const named = own.map((preset, at) => ({ ...preset, name: `File: ${preset.name || `${preset.table ? "table" : "window"} ${at + 1}`}` }));
  const low = assessed.centre - 0.5 - (assessed.width - 1) / 2;
  const part = ({ name, from, to }) => {
    // Where low values are bright, the dark part is at the other end.
    const [first, last] = facts.inverted ? [1 - to, 1 - from] : [from, to];
    return { name, ...over(low + first * (assessed.width - 1), low + last * (assessed.width - 1)) };
  };
  return [
    { ...assessed, name: "As assessed" },
    ...named,
    { name: "Full range", ...over(...rangeOf(facts)) },
    ...PARTS.map(part),
  ];
}

function over(low, high) {
  return { function: "LINEAR", centre: (low + high + 1) / 2, width: high - low + 1, table: null };
}

/** Return the lowest and the highest value of a picture, in units of the file. */
function rangeOf({ lowest, highest, slope, intercept }) {
  const [a, b] = [intercept + slope * lowest, intercept + slope * highest];
  return [Math.min(a, b), Math.max(a, b)];
}

/**
 * Return where windows and levels of an image lie: {unit, low, digits}.
 *
 * 256 units span all that it shows; of a picture of 8 bits a unit is a level. What is finer than
 * `digits` decimals cannot be told apart.
 */
export function unitsOf(facts) {
  const [{ centre, width }] = facts.presets;
  const [lowest, highest] = rangeOf(facts);
  const low = Math.min(lowest, centre - width / 2);
  const high = Math.max(highest, centre - 1 + width / 2);
  const unit = Math.max(high - low, Number.EPSILON) / 255;
  return { unit, low, digits: Math.max(0, -Math.floor(Math.log10(unit))) };
}

/** Return the words of a canvas, little-endian RGBA, for each sample that there can be. */
export function wordsOf(facts, { window, level, function: kind, table, invert }) {
  const words = new Uint32Array(ENTRIES);
  const shown = table ? ofTable(table) : FUNCTIONS[kind](window, level);
  const isInverted = facts.inverted !== invert;
  for (let sample = 0; sample < ENTRIES; sample += 1) {
    const brightness = shown(facts.intercept + facts.slope * sample);
    const grey = Math.round(255 * (isInverted ? 1 - brightness : brightness));
    words[sample] = 0xff000000 | (grey << 16) | (grey << 8) | grey;
  }
  return words;
}

const within = (share) => Math.min(1, Math.max(0, share));
const FUNCTIONS = {
  LINEAR: (window, level) =>
    window > 1
      ? (value) => within((value - (level - 0.5)) / (window - 1) + 0.5)
      : (value) => Number(value > level - 0.5),
  LINEAR_EXACT: (window, level) => (value) => within((value - level) / window + 0.5),
  SIGMOID: (window, level) => (value) => 1 / (1 + Math.exp((-4 * (value - level)) / window)),
};
FUNCTIONS.TABLE = FUNCTIONS.LINEAR; // once window and level were moved, there is no table any more

function ofTable({ first, greys }) {
  const entries = Uint8Array.from(atob(greys), (one) => one.charCodeAt(0));
  return (value) => entries[Math.min(entries.length - 1, Math.max(0, Math.floor(value - first)))] / 255;
}
