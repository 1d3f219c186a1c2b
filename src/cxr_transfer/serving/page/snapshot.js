// The picture as it is seen, saved as PNG: image, heat map, outline and measurements as on the screen, in its
// resolution, with what they mean and what they are not for burnt in. Nothing of the header is in it.

import { drawColours, legendOf } from "./legend.js";
import { areShown } from "./overlays.js";
import { audit } from "./results.js";
import { viewInWords } from "./view_controls.js";

const BACK = "#000";
const INK = "#e3e7ec";
const LINE = "#ffd75e";
const EDGE = 12; // CSS pixels
const SIZE = 13;
const PLACES = ["Left image", "Right image"];

/**
 * Return a PNG of what is seen.
 *
 * `stages` are {viewer, overlays}: the image, and the one beside it where there is one; `lines` are texts to stand
 * below the legend and the measurements.
 */
export function snapshot(stages, lines) {
  const panes = stages.flatMap(({ viewer, overlays }) =>
    viewer.panes.map((pane, place) => ({ ...pane, overlays, place })).filter(({ figure }) => !figure.hidden),
  );
  const density = panes[0].canvas.width / panes[0].figure.clientWidth;
  const width = panes.reduce((sum, { canvas }) => sum + canvas.width, 0);
  const height = Math.max(...panes.map(({ canvas }) => canvas.height));
  const canvas = document.createElement("canvas");
  canvas.width = width;
  const context = canvas.getContext("2d");
  const font = `${SIZE * density}px sans-serif`;
  context.font = font;
  const mapped = stages.flatMap(mapsOf);
  const words = [...wordsOf(stages), ...lines];
  const most = width - 2 * EDGE * density;
  const rows = words.flatMap((text) => wrapped(context, text, most));
  const bar = mapped.length ? 2 * SIZE : 0;
  canvas.height = height + Math.ceil((rows.length * 1.4 * SIZE + bar + 2 * EDGE) * density);
  context.fillStyle = BACK;
  context.fillRect(0, 0, canvas.width, canvas.height);
  let left = 0;
  for (const pane of panes) {
    context.drawImage(pane.canvas, left, 0);
    context.save();
    context.beginPath();
    context.rect(left, 0, pane.canvas.width, pane.canvas.height);
    context.clip();
    context.translate(left, 0);
    context.scale(density, density);
    if (areShown()) over(context, pane.overlays.drawn(pane.place));
    context.restore();
    left += pane.canvas.width;
  }
  below(context, { rows, bar, height, density, font, width: most });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}

/** Return the panes of a stage that show a heat map. */
const mapsOf = ({ viewer, overlays }) => (viewer.heat.on ? overlays.panes.filter(({ answer }) => answer?.heat_map) : []);

/** Return what is to be known of a picture: its heat maps, what is doubtful of them, how it is shown, what is measured. */
function wordsOf(stages) {
  const mapped = stages.flatMap(mapsOf);
  const models = new Set(mapped.map(({ model }) => model));
  const ofStages = stages.flatMap((stage, at) => {
    const { viewer, overlays } = stage;
    const view = viewInWords(viewer.view, overlays.panes[0]?.image?.change);
    const told = [...mapsOf(stage).flatMap((pane) => doubtsOf(pane, models.size > 1)), ...(view ? [view] : []), ...overlays.notes];
    return stages.length > 1 ? told.map((text) => `${PLACES[at]}: ${text}`) : told;
  });
  return [
    ...new Set(mapped.map((pane) => legendOf(pane).title)), // two images may have maps of one model
    ...(mapped.length ? [legendOf(mapped[0]).meaning] : []),
    ...ofStages,
  ];
}

/** Return what stands above an answer on the screen: warnings of the image, and what the audit says of the model. */
function doubtsOf({ answer, model }, isNamed) {
  const { kind, sentence } = audit(model);
  const texts = [...answer.warnings.map((text) => `${text[0].toUpperCase()}${text.slice(1)}.`), ...(kind === "pass" ? [] : [sentence])];
  return isNamed ? texts.map((text) => `${model.name}: ${text}`) : texts;
}

function over(context, { crop, lines, texts }) {
  const path = (points, isClosed) => {
    context.beginPath();
    points.forEach(({ x, y }, place) => (place ? context.lineTo(x, y) : context.moveTo(x, y)));
    if (isClosed) context.closePath();
    context.stroke();
  };
  for (const [colour, width] of [["#000", 4], [LINE, 1.5]]) {
    Object.assign(context, { strokeStyle: colour, lineWidth: width });
    if (crop) {
      context.setLineDash([8, 6]);
      path(crop, true);
      context.setLineDash([]);
    }
    for (const line of lines) path(line, false);
  }
  Object.assign(context, { font: `600 ${SIZE}px sans-serif`, lineJoin: "round" });
  for (const { text, at } of texts) {
    Object.assign(context, { strokeStyle: "#000", lineWidth: 4, fillStyle: LINE });
    context.strokeText(text, at.x + 10, at.y - 8);
    context.fillText(text, at.x + 10, at.y - 8);
  }
}

function below(context, { rows, bar, height, density, font, width }) {
  let y = height + EDGE * density;
  if (bar) {
    Object.assign(context, { fillStyle: INK, font });
    const ends = ["nothing ", " most"].map((text) => context.measureText(text).width);
    const long = Math.min(width - ends[0] - ends[1], 20 * SIZE * density);
    const left = EDGE * density;
    context.fillText("nothing ", left, y + SIZE * density);
    drawColours(context, left + ends[0], y + 0.1 * SIZE * density, long, SIZE * density);
    context.fillStyle = INK;
    context.fillText(" most", left + ends[0] + long, y + SIZE * density);
    y += bar * density;
  }
  Object.assign(context, { fillStyle: INK, font });
  for (const row of rows) {
    y += 1.4 * SIZE * density;
    context.fillText(row, EDGE * density, y - 0.4 * SIZE * density);
  }
}

function wrapped(context, text, most) {
  const rows = [""];
  for (const word of text.split(" ")) {
    const longer = `${rows.at(-1)} ${word}`.trim();
    if (context.measureText(longer).width > most && rows.at(-1)) rows.push(word);
    else rows[rows.length - 1] = longer;
  }
  return rows;
}
