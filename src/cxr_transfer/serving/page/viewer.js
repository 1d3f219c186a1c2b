// An image on a canvas as radiology viewers have it: pan, zoom, turn, window and level, heat map.
// One view (position, zoom, turn, grey scale) moves one or two panes. Knows samples, not answers.

import { cornerOf, inverse, mirrored, onCanvas, onImage, placed, sizeOf, times, turned } from "./geometry.js";
import { presetsOf, unitsOf, wordsOf } from "./greys.js";
import { coveredBy, resample } from "./resample.js";

const LEAST_WIDTH = 2; // of a window, in units that span an image 256 times
const MOST_WIDTH = 512;
const LEAST_LEVEL = -64;
const MOST_LEVEL = 320;
const LEAST_ZOOM = 0.25;
const DENSEST = 3; // pixels of a screen to a CSS pixel
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

/** A view of an image that was not looked at yet: its window is that of its first preset. */
export const OPENING = Object.freeze({
  ...{ window: null, level: null, function: "LINEAR", preset: 0 },
  ...{ zoom: 1, x: 0.5, y: 0.5, rotate: 0, flip: false, invert: false },
});

export class Viewer {
  #stage;
  #panes;
  #changed;
  #view = { ...OPENING };
  #heat = { on: false, opacity: 0.45 };
  #tool = "window";
  #space = false;
  #pointers = new Map();
  #drag = null;
  #due = false;
  #painted = [];
  #presets = [];
  #units = { unit: 1, low: 0, digits: 0 };
  #greys = null;

  /** `changed(viewer)` is called after every change that a person may want to read. */
  constructor(stage, changed) {
    this.#stage = stage;
    this.#changed = changed;
    this.#panes = [...stage.querySelectorAll(".pane")].map((figure) => {
      const canvas = figure.querySelector("canvas");
      return {
        figure,
        canvas,
        caption: figure.querySelector("figcaption"),
        context: canvas.getContext("2d", { willReadFrequently: true }),
        overlay: null,
        drawn: null, // samples of the canvas, and what they were drawn of
      };
    });
    this.image = null;
    new ResizeObserver(() => this.#resize()).observe(stage);
    this.#listen();
  }

  get view() {
    return this.#view;
  }

  get heat() {
    return this.#heat;
  }

  get tool() {
    return this.#tool;
  }

  /** Pixels of the screen to a pixel of the image: 1 is one to one. */
  get scale() {
    return this.image ? this.#fit(this.#panes[0]) * this.#view.zoom : 1;
  }

  /** Ways to show the image, [{name, function, centre, width, table}]; the view's preset is a place in it. */
  get presets() {
    return this.#presets;
  }

  /** Bounds of window and level, and what they step by: {window: [least, most], level: [least, most], step}. */
  get bounds() {
    const { unit, low, digits } = this.#units;
    return {
      window: [LEAST_WIDTH * unit, MOST_WIDTH * unit],
      level: [low + LEAST_LEVEL * unit, low + MOST_LEVEL * unit],
      step: digits ? 10 ** -digits : 1,
    };
  }

  /** Show an image ({width, height, facts, samples}, or null) with a view that the caller keeps for it. */
  show(image, view) {
    if (this.image && this.image !== image) this.image.samples.rest();
    this.image = image;
    this.#view = view;
    if (image) {
      image.samples.arrived = () => image === this.image && this.#draw();
      this.#presets = presetsOf(image.facts);
      this.#units = unitsOf(image.facts);
      if (view.window === null) this.#choose(0);
    }
    for (const pane of this.#panes) pane.drawn = null;
    this.#resize();
    this.#changed(this);
  }

  /** Return where a point of the image, {x, y} in its pixels, lies on a pane, in CSS pixels from its corner. */
  toScreen(pane, point) {
    const { x, y } = onCanvas(this.#placed(pane), point);
    return { x: x / this.#density, y: y / this.#density };
  }

  /** Return which point of the image lies there on a pane, {x, y} in CSS pixels from its corner. */
  toImage(pane, point) {
    return onImage(this.#placed(pane), { x: point.x * this.#density, y: point.y * this.#density });
  }

  /** Have `callback(pane)` called after each time that a pane was painted; `pane` is {figure, canvas, context}. */
  onPaint(callback) {
    this.#painted.push(callback);
  }

  get panes() {
    return this.#panes;
  }

  /**
   * Set what lies over the image in each pane: [{caption, overlay, changed}], one or two of them.
   *
   * An overlay of an image that was changed, {rotate, flip}, lies as that does.
   */
  layers(layers) {
    this.#panes.forEach((pane, number) => {
      const layer = layers[number];
      pane.figure.hidden = !layer && number > 0;
      pane.overlay = layer?.overlay ?? null;
      pane.changed = layer?.changed ?? AS_STORED;
      pane.caption.textContent = layers.length > 1 ? layer.caption : "";
    });
    this.#resize();
  }

  setTool(tool) {
    this.#tool = tool;
    this.#stage.dataset.tool = tool;
    this.#changed(this);
  }

  setHeat(heat) {
    Object.assign(this.#heat, heat);
    this.#heat.opacity = clamp(this.#heat.opacity, 0, 1);
    this.#draw();
  }

  setGreys({ window = this.#view.window, level = this.#view.level, invert = this.#view.invert }) {
    if (!this.image) return;
    const { window: widths, level: levels } = this.bounds;
    if (window !== this.#view.window || level !== this.#view.level) {
      this.#view.window = this.#rounded(clamp(window, ...widths));
      this.#view.level = this.#rounded(clamp(level, ...levels));
      this.#view.preset = null;
    }
    this.#view.invert = invert;
    this.#draw();
  }

  /** Change window and level by steps of which 256 span the image. */
  moveGreys(window, level, from = this.#view) {
    if (!this.image) return;
    const { unit } = this.#units;
    this.setGreys({ window: from.window + window * unit, level: from.level + level * unit });
  }

  /** Show the image by one of its presets. */
  usePreset(number) {
    if (!this.image || !this.#presets[number]) return;
    this.#choose(number);
    this.#draw();
  }

  #choose(number) {
    const { function: kind, centre, width } = this.#presets[number];
    Object.assign(this.#view, { preset: number, function: kind, level: centre, window: width });
  }

  /** Return a number as fine as the image's values tell apart. */
  #rounded(value) {
    return Number(value.toFixed(this.#units.digits));
  }

  /**
   * Show an image as another viewer shows its own: place, turn and greys.
   *
   * A window that was chosen by hand is carried over in shares of what each image spans.
   */
  follow(other) {
    if (!this.image || !other.image) return;
    const before = JSON.stringify(this.#view);
    const { zoom, x, y, rotate, flip, invert, preset, window, level } = other.view;
    Object.assign(this.#view, { zoom, x, y, rotate, flip, invert });
    if (preset === 0) {
      this.#choose(0);
    } else {
      const [mine, its] = [this.#units, other.#units];
      this.#view.window = this.#rounded((window / its.unit) * mine.unit);
      this.#view.level = this.#rounded(mine.low + ((level - its.low) / its.unit) * mine.unit);
      this.#view.preset = null;
    }
    if (JSON.stringify(this.#view) !== before) this.#draw();
  }

  reset() {
    Object.assign(this.#view, OPENING);
    if (this.image) this.#choose(0);
    this.#draw();
  }

  fit() {
    Object.assign(this.#view, { zoom: 1, x: 0.5, y: 0.5 });
    this.#draw();
  }

  /** Turn the image clockwise as it is seen, by 90, 180 or 270 degrees. */
  turn(degrees) {
    this.#view.rotate = (this.#view.rotate + degrees) % 360;
    this.#draw();
  }

  /** Mirror the image as it is seen, left to right, or top to bottom. */
  mirror(options) {
    Object.assign(this.#view, mirrored(this.#view, options));
    this.#draw();
  }

  actualSize() {
    if (this.image) this.zoomBy(1 / this.scale);
  }

  /** Zoom about a point of a pane, or about its middle. */
  zoomBy(factor, pane = this.#panes[0], at = null) {
    if (!this.image) return;
    const before = this.#fit(pane) * this.#view.zoom;
    this.#view.zoom = clamp(this.#view.zoom * factor, LEAST_ZOOM, this.#mostZoom(pane));
    const after = this.#fit(pane) * this.#view.zoom;
    if (at) {
      // What lies at the point stays there.
      const aside = (1 / before - 1 / after) * this.#density;
      this.#moveBy((at.x - pane.canvas.clientWidth / 2) * aside, (at.y - pane.canvas.clientHeight / 2) * aside);
    }
    this.#draw();
  }

  /** Move the image by CSS pixels. */
  panBy(right, down, pane = this.#panes[0]) {
    if (!this.image) return;
    const scale = (this.#fit(pane) * this.#view.zoom) / this.#density;
    this.#moveBy(-right / scale, -down / scale);
    this.#draw();
  }

  #mostZoom(pane) {
    return Math.max(40, 8 / this.#fit(pane)); // a pixel of the largest image can be seen, too
  }

  /** Move the middle of the panes by pixels of the image, right and down as they are seen. */
  #moveBy(right, down) {
    const { x, y } = times(inverse(turned(this.#view)), { x: right, y: down });
    this.#moveTo(this.#view.x + x / this.image.width, this.#view.y + y / this.image.height);
  }

  #moveTo(x, y) {
    this.#view.x = clamp(x, 0, 1);
    this.#view.y = clamp(y, 0, 1);
  }

  get #density() {
    return Math.min(DENSEST, globalThis.devicePixelRatio || 1);
  }

  #fit({ canvas }) {
    const { width, height } = sizeOf(this.image, this.#view);
    return Math.min(canvas.width / width, canvas.height / height) || 1;
  }

  #placed(pane) {
    return placed(pane.canvas, this.image, this.#view, this.#fit(pane) * this.#view.zoom);
  }

  #resize() {
    for (const { canvas, figure } of this.#panes) {
      const width = Math.round(figure.clientWidth * this.#density);
      const height = Math.round(figure.clientHeight * this.#density);
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    }
    this.#draw();
  }

  #draw() {
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      for (const pane of this.#panes) {
        if (pane.figure.hidden) continue;
        this.#paint(pane);
        for (const callback of this.#painted) callback(pane);
      }
      this.#changed(this);
    });
  }

  #paint(pane) {
    const { canvas, context, overlay } = pane;
    if (!this.image || !canvas.width || !canvas.height) {
      context.clearRect(0, 0, canvas.width, canvas.height);
      pane.drawn = null;
      return;
    }
    const place = this.#placed(pane);
    const { data, inside } = this.#resampled(pane, place);
    // Greys are looked up once the samples are those of the screen: what is seen is a window of
    // interpolated values, at full depth.
    const words = this.#words();
    const picture = context.createImageData(canvas.width, canvas.height);
    const shown = new Uint32Array(picture.data.buffer);
    for (let row = inside.top; row < inside.bottom; row += 1) {
      const start = row * canvas.width;
      for (let i = start + inside.left, end = start + inside.right; i < end; i += 1) shown[i] = words[data[i]];
    }
    context.putImageData(picture, 0, 0);
    if (overlay && this.#heat.on && this.#heat.opacity > 0) this.#lay(pane, place);
  }

  /** Return the samples of a pane's canvas, drawn anew where the view or what there is of the image changed. */
  #resampled(pane, place) {
    const { canvas, drawn } = pane;
    const { samples, width, height } = this.image;
    const pixels = 1 / place.scale; // of the image, to one of the screen
    const corners = [onImage(place, { x: 0, y: 0 }), onImage(place, { x: canvas.width, y: canvas.height })];
    const seen = {
      left: Math.min(corners[0].x, corners[1].x),
      top: Math.min(corners[0].y, corners[1].y),
      right: Math.max(corners[0].x, corners[1].x),
      bottom: Math.max(corners[0].y, corners[1].y),
    };
    const core = { left: 0, top: 0, right: width, bottom: height };
    const parts = [{ piece: samples.whole(pixels), core }, ...samples.parts(seen, pixels)];
    const key = JSON.stringify([place, canvas.width, canvas.height]);
    const isSame = drawn?.key === key && drawn.parts.length === parts.length && parts.every(({ piece }, at) => piece === drawn.parts[at].piece);
    if (isSame) return drawn;
    const size = canvas.width * canvas.height;
    const data = drawn?.data.length === size ? drawn.data : new Uint16Array(size);
    for (const part of parts) resample({ data, width: canvas.width }, canvas, place, part);
    pane.drawn = { key, parts, data, inside: coveredBy(canvas, place, core) };
    return pane.drawn;
  }

  #words() {
    const { window, level, function: kind, preset, invert } = this.#view;
    const key = JSON.stringify([window, level, kind, preset, invert]);
    if (this.#greys?.facts !== this.image.facts || this.#greys.key !== key) {
      const table = preset === null ? null : this.#presets[preset].table;
      this.#greys = { facts: this.image.facts, key, words: wordsOf(this.image.facts, { window, level, function: kind, table, invert }) };
    }
    return this.#greys.words;
  }

  /** Lay a pane's overlay over the image, as the image lies that it was made of. */
  #lay({ context, overlay, changed }, { matrix, origin, scale }) {
    const { width, height } = this.image;
    const size = sizeOf({ width, height }, changed);
    // The changed image's corner lies where one of the image's corners was turned to.
    const corner = cornerOf({ width, height }, changed);
    context.save();
    context.globalAlpha = this.#heat.opacity;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    context.setTransform(...matrix.map((one) => one * scale), origin.x, origin.y);
    context.transform(...inverse(turned(changed)), 0, 0);
    context.drawImage(overlay, corner.x, corner.y, size.width, size.height);
    context.restore();
  }

  #listen() {
    this.#stage.addEventListener("contextmenu", (event) => event.preventDefault());
    this.#stage.addEventListener("keydown", (event) => {
      if (event.key === " ") {
        this.#space = true;
        event.preventDefault();
      }
    });
    globalThis.addEventListener("keyup", (event) => {
      if (event.key === " ") this.#space = false;
    });
    globalThis.addEventListener("blur", () => (this.#space = false));
    for (const pane of this.#panes) {
      const { canvas } = pane;
      canvas.addEventListener("pointerdown", (event) => this.#press(event, pane));
      canvas.addEventListener("pointermove", (event) => this.#move(event, pane));
      for (const end of ["pointerup", "pointercancel"]) {
        canvas.addEventListener(end, (event) => this.#release(event));
      }
      canvas.addEventListener("dblclick", (event) => this.zoomBy(2, pane, offset(event)));
      canvas.addEventListener(
        "wheel",
        (event) => {
          event.preventDefault();
          const lines = event.deltaMode === 1 ? 20 * event.deltaY : event.deltaY;
          this.zoomBy(Math.exp(-clamp(lines, -200, 200) / 400), pane, offset(event));
        },
        { passive: false },
      );
    }
  }

  #press(event, pane) {
    pane.canvas.setPointerCapture(event.pointerId);
    this.#stage.focus({ preventScroll: true });
    event.preventDefault();
    this.#pointers.set(event.pointerId, offset(event));
    const moves = event.button === 1 || this.#space || event.shiftKey;
    const zooms = event.ctrlKey || event.metaKey;
    const kind = moves ? "pan" : zooms ? "zoom" : event.button === 2 ? "window" : this.#tool;
    this.#startDrag(kind, offset(event));
  }

  #startDrag(kind, from) {
    const { window, level } = this.#view;
    this.#drag = { kind, from, window, level };
    this.#stage.dataset.drag = kind;
  }

  #move(event, pane) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = offset(event);
    if (this.#pointers.size === 2) {
      this.#pinch(event.pointerId, before, now, pane);
    } else {
      const { kind, from, window, level } = this.#drag;
      if (kind === "pan") this.panBy(now.x - before.x, now.y - before.y, pane);
      else if (kind === "zoom") this.zoomBy(Math.exp((before.y - now.y) / 150), pane);
      else this.moveGreys(now.x - from.x, now.y - from.y, { window, level });
    }
    this.#pointers.set(event.pointerId, now);
  }

  #pinch(moving, before, now, pane) {
    const [, other] = [...this.#pointers].find(([id]) => id !== moving);
    const apart = (point) => Math.hypot(point.x - other.x, point.y - other.y) || 1;
    this.panBy((now.x - before.x) / 2, (now.y - before.y) / 2, pane);
    this.zoomBy(apart(now) / apart(before), pane, { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
  }

  #release(event) {
    this.#pointers.delete(event.pointerId);
    const [left] = this.#pointers.values();
    if (left) {
      this.#startDrag(this.#drag.kind, left); // one of two fingers stays
    } else {
      this.#drag = null;
      delete this.#stage.dataset.drag;
    }
  }
}

const AS_STORED = Object.freeze({ rotate: 0, flip: false });
const offset = (event) => ({ x: event.offsetX, y: event.offsetY });
