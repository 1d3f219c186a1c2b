// An image on a canvas as radiology viewers have it: pan, zoom, window and level, invert, heat map.
// One view (position, zoom, grey scale) moves one or two panes. Knows pixels, not answers.

import { mirrored, onCanvas, onImage, placed, sizeOf } from "./geometry.js";

const NARROWEST = 2;
const WIDEST = 512;
const LOWEST = -64;
const HIGHEST = 320;
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export const OPENING = Object.freeze({ window: 256, level: 128, zoom: 1, x: 0.5, y: 0.5, rotate: 0, flip: false, invert: false });

/** Return 256 little-endian RGB words for a window (DICOM PS3.3 C.11.2.1.2.1, over 0..255). */
export function greys(window, level, invert) {
  const table = new Uint32Array(256);
  for (let stored = 0; stored < 256; stored += 1) {
    const shown = ((stored - (level - 0.5)) / (window - 1) + 0.5) * 255;
    const grey = Math.round(clamp(invert ? 255 - shown : shown, 0, 255));
    table[stored] = grey | (grey << 8) | (grey << 16);
  }
  return table;
}

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

  /** Image pixels per CSS pixel of the screen, upside down: 1 is one to one. */
  get scale() {
    return this.image ? (this.#fit(this.#panes[0]) * this.#view.zoom) / this.#density : 1;
  }

  /** Show an image ({picture, width, height}, or null) with a view that the caller keeps for it. */
  show(image, view) {
    this.image = image;
    this.#view = view;
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

  /** Set what lies over the image in each pane: [{caption, overlay}], one or two of them. */
  layers(layers) {
    this.#panes.forEach((pane, number) => {
      const layer = layers[number];
      pane.figure.hidden = !layer && number > 0;
      pane.overlay = layer?.overlay ?? null;
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
    this.#view.window = Math.round(clamp(window, NARROWEST, WIDEST));
    this.#view.level = Math.round(clamp(level, LOWEST, HIGHEST));
    this.#view.invert = invert;
    this.#draw();
  }

  reset() {
    Object.assign(this.#view, OPENING);
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
    this.#view.zoom = clamp(this.#view.zoom * factor, 0.25, 40);
    const after = this.#fit(pane) * this.#view.zoom;
    if (at) {
      const aside = (1 / before - 1 / after) * this.#density;
      this.#moveTo(
        this.#view.x + ((at.x - pane.canvas.clientWidth / 2) * aside) / this.image.width,
        this.#view.y + ((at.y - pane.canvas.clientHeight / 2) * aside) / this.image.height,
      );
    }
    this.#draw();
  }

  /** Move the image by CSS pixels. */
  panBy(right, down, pane = this.#panes[0]) {
    if (!this.image) return;
    const scale = (this.#fit(pane) * this.#view.zoom) / this.#density;
    this.#moveTo(
      this.#view.x - right / (scale * this.image.width),
      this.#view.y - down / (scale * this.image.height),
    );
    this.#draw();
  }

  #moveTo(x, y) {
    this.#view.x = clamp(x, 0, 1);
    this.#view.y = clamp(y, 0, 1);
  }

  get #density() {
    return Math.min(2, globalThis.devicePixelRatio || 1);
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
    context.clearRect(0, 0, canvas.width, canvas.height);
    if (!this.image || !canvas.width || !canvas.height) return;
    const { window, level, invert, x, y } = this.#view;
    const scale = this.#fit(pane) * this.#view.zoom;
    const width = this.image.width * scale;
    const height = this.image.height * scale;
    const left = canvas.width / 2 - x * width;
    const top = canvas.height / 2 - y * height;

    context.imageSmoothingEnabled = scale < 4; // far in, a pixel is a pixel
    context.imageSmoothingQuality = "high";
    context.drawImage(this.image.picture, left, top, width, height);

    // Windowed after it was scaled, so that what is seen is a window of interpolated greys.
    const x0 = clamp(Math.floor(left), 0, canvas.width);
    const y0 = clamp(Math.floor(top), 0, canvas.height);
    const x1 = clamp(Math.ceil(left + width), 0, canvas.width);
    const y1 = clamp(Math.ceil(top + height), 0, canvas.height);
    const plain = window === OPENING.window && level === OPENING.level && !invert;
    if (!plain && x1 > x0 && y1 > y0) {
      const part = context.getImageData(x0, y0, x1 - x0, y1 - y0);
      const words = new Uint32Array(part.data.buffer);
      const table = greys(window, level, invert);
      for (let i = 0; i < words.length; i += 1) {
        words[i] = (words[i] & 0xff000000) | table[words[i] & 0xff];
      }
      context.putImageData(part, x0, y0);
    }
    if (overlay && this.#heat.on && this.#heat.opacity > 0) {
      context.save();
      context.globalAlpha = this.#heat.opacity;
      context.imageSmoothingEnabled = true;
      context.drawImage(overlay, left, top, width, height);
      context.restore();
    }
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
    const moves = event.button === 1 || this.#space;
    const kind = moves ? "pan" : event.button === 2 ? "window" : this.#tool;
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
      else this.setGreys({ window: window + now.x - from.x, level: level + now.y - from.y });
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

const offset = (event) => ({ x: event.offsetX, y: event.offsetY });
