// Measurements over the image: drawn with mouse, finger or keys, moved, taken away; an SVG over each pane.
// Knows points and shapes; what is said of them is given to it.

import { KINDS, linesOf } from "./measurements.js";

const SPACE = "http://www.w3.org/2000/svg";
const CLICK = 4; // CSS pixels: who moved less has clicked, and ends a line with a second click
const BESIDE = 10; // CSS pixels from a point to the text that stands beside it
const ENDED = "Measuring has ended.";
const STEP = { plain: 4, shift: 40 }; // CSS pixels of a key press

function shape(tag, attributes) {
  const made = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

export class Measuring {
  #viewer;
  #stage;
  #acts;
  #panes;
  #draft = null; // {item, pane, from}: points so far, the last one still moving
  #cursor = null; // {pane, x, y} in CSS pixels, for the keys
  #dragged = null;
  #shown = [];

  /** `acts` are {changed(), say(text)}: called after every change, and with what is to be read aloud. */
  constructor(viewer, stage, acts) {
    this.#viewer = viewer;
    this.#stage = stage;
    this.#acts = acts;
    this.#panes = viewer.panes.map((pane) => {
      const svg = shape("svg", { class: "measurements" });
      pane.figure.append(svg);
      const mine = { ...pane, svg, nodes: new Map() };
      this.#listen(mine, pane);
      return mine;
    });
    viewer.onPaint((pane) => this.#paint(this.#panes[viewer.panes.indexOf(pane)], pane));
    stage.addEventListener("keydown", (event) => this.#key(event), { capture: true });
  }

  /** Show what is measured in each pane: [{items, describe}], `describe(item)` returns its {short, long, warning}. */
  show(shown) {
    this.#shown = shown;
    if (this.#draft && !shown.some(({ items }) => items.includes(this.#draft.item))) this.#draft = null;
    this.draw();
  }

  get isOn() {
    return Object.hasOwn(KINDS, this.#viewer.tool);
  }

  /** Begin with a kind of measurement, or end what was begun where the tool is on already. */
  start(kind) {
    this.cancel();
    const on = this.#viewer.tool !== kind;
    this.#viewer.setTool(on ? kind : "window");
    this.#cursor = null;
    if (on) {
      const { name, points } = KINDS[kind];
      this.#acts.say(`${name}: drag, or click, for the ${points[0]} and the ${points[1]}. With keys: arrows and Enter.`);
    } else this.#acts.say(ENDED);
    this.draw();
  }

  /** Take away what is half drawn. */
  cancel() {
    if (this.#draft) this.remove(this.#draft.item, "");
    this.#draft = null;
  }

  /** Take a measurement away. */
  remove(item, words = `${KINDS[item.kind].name} deleted.`) {
    for (const { items } of this.#shown) {
      const place = items.indexOf(item);
      if (place >= 0) items.splice(place, 1);
    }
    if (words) this.#acts.say(words);
    this.#acts.changed();
    this.draw();
  }

  /** Return what is drawn over a pane: {lines, texts}, in CSS pixels. */
  drawn(place) {
    const { items = [], describe } = this.#shown[place] ?? {};
    const pane = this.#viewer.panes[place];
    const at = (point) => this.#viewer.toScreen(pane, point);
    const whole = items.filter(({ isDraft }) => !isDraft);
    return {
      lines: whole.flatMap((item) => linesOf(item).lines.map((line) => line.map(at))),
      texts: whole.map((item) => ({ text: describe(item).short, at: at(linesOf(item).at) })),
    };
  }

  draw() {
    this.#panes.forEach((mine, place) => this.#paint(mine, this.#viewer.panes[place]));
  }

  // Pointers

  #listen(mine, pane) {
    const { figure } = mine;
    const at = (event) => {
      const { left, top } = figure.getBoundingClientRect();
      return { x: event.clientX - left, y: event.clientY - top };
    };
    const hold = (event) => {
      event.preventDefault();
      event.stopPropagation();
    };
    figure.addEventListener(
      "pointerdown",
      (event) => {
        const handle = event.target.closest?.(".handle");
        if (event.button !== 0 || !this.#viewer.image || !(handle || this.isOn)) return;
        hold(event);
        figure.setPointerCapture(event.pointerId);
        if (handle) {
          handle.focus();
          this.#dragged = { item: handle.item, place: handle.place };
        } else {
          this.#stage.focus({ preventScroll: true });
          this.#press(mine, pane, at(event));
        }
      },
      { capture: true },
    );
    figure.addEventListener(
      "pointermove",
      (event) => {
        if (this.#draft && this.#draft.item.kind !== this.#viewer.tool) this.cancel(); // another tool was taken
        const moving = this.#dragged ?? (this.#draft?.pane === mine && { item: this.#draft.item, place: this.#draft.item.points.length - 1 });
        if (!moving) return;
        hold(event);
        moving.item.points[moving.place] = this.#viewer.toImage(pane, at(event));
        this.draw();
      },
      { capture: true },
    );
    for (const kind of ["pointerup", "pointercancel"]) {
      figure.addEventListener(
        kind,
        (event) => {
          if (this.#dragged) this.#acts.changed();
          this.#dragged = null;
          const from = this.#draft?.from;
          if (!from || this.#draft.pane !== mine) return;
          hold(event);
          const to = at(event);
          this.#draft.from = null;
          if (Math.hypot(to.x - from.x, to.y - from.y) > CLICK) this.#place(mine, pane, to);
        },
        { capture: true },
      );
    }
  }

  #press(mine, pane, at) {
    if (this.#draft && this.#draft.pane !== mine) this.cancel();
    this.#place(mine, pane, at);
    if (this.#draft) this.#draft.from = at;
  }

  /** Fix a point; the next one follows the pointer until it is fixed as well. */
  #place(mine, pane, at) {
    const point = this.#viewer.toImage(pane, at);
    if (!this.#draft) {
      const item = { kind: this.#viewer.tool, points: [point, { ...point }], isDraft: true };
      this.#shown[this.#panes.indexOf(mine)]?.items.push(item);
      this.#draft = { item, pane: mine, from: null };
    } else {
      const { item } = this.#draft;
      item.points[item.points.length - 1] = point;
      const { points, name } = KINDS[item.kind];
      if (item.points.length === points.length) {
        delete item.isDraft;
        this.#draft = null;
        const { long, warning } = this.#described(item);
        this.#acts.say([`${name}: ${long}`, warning].filter(Boolean).join(" "));
        this.#acts.changed();
      } else {
        item.points.push({ ...point });
        this.#acts.say(`Now the ${points[item.points.length - 1]}.`);
      }
    }
    this.draw();
  }

  #described(item) {
    return this.#shown.find(({ items }) => items.includes(item))?.describe(item);
  }

  // Keys

  #key(event) {
    const step = event.shiftKey ? STEP.shift : STEP.plain;
    const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [0, 0];
    const moves = Boolean(right || down);
    const { target } = event;
    let isMine = false;
    if (target.classList.contains("handle")) {
      isMine = moves || event.key === "Delete" || event.key === "Backspace";
      if (moves) this.#moveHandle(target, right * step, down * step);
      else if (isMine) {
        this.#stage.focus();
        this.remove(target.item);
      }
    } else if (target === this.#stage && this.isOn && this.#viewer.image) {
      isMine = moves || ["Enter", "Escape"].includes(event.key);
      if (moves) this.#moveCursor(right * step, down * step);
      else if (event.key === "Enter") this.#enter();
      else if (event.key === "Escape") this.#escape();
    }
    if (!isMine) return;
    event.preventDefault();
    event.stopPropagation();
  }

  #moveHandle({ item, place }, right, down) {
    const pane = this.#viewer.panes[0];
    const { x, y } = this.#viewer.toScreen(pane, item.points[place]);
    item.points[place] = this.#viewer.toImage(pane, { x: x + right, y: y + down });
    this.draw();
    this.#acts.say(this.#described(item)?.short ?? "");
    this.#acts.changed();
  }

  #moveCursor(right, down) {
    const mine = this.#panes[0];
    const { clientWidth, clientHeight } = mine.figure;
    const { x, y } = this.#cursor ?? { x: clientWidth / 2, y: clientHeight / 2 };
    const within = (value, most) => Math.min(most, Math.max(0, value));
    this.#cursor = { x: within(x + right, clientWidth), y: within(y + down, clientHeight) };
    if (this.#draft) this.#draft.item.points[this.#draft.item.points.length - 1] = this.#viewer.toImage(this.#viewer.panes[0], this.#cursor);
    this.draw();
  }

  #enter() {
    if (!this.#cursor) this.#moveCursor(0, 0);
    const first = !this.#draft;
    this.#place(this.#panes[0], this.#viewer.panes[0], this.#cursor);
    if (first) this.#acts.say(`The ${KINDS[this.#viewer.tool].points[0]} is set. Now the ${KINDS[this.#viewer.tool].points[1]}.`);
  }

  #escape() {
    if (this.#draft) {
      this.cancel();
      this.#acts.say("What was half drawn is taken away.");
    } else {
      this.#viewer.setTool("window");
      this.#acts.say(ENDED);
    }
    this.#cursor = null;
    this.draw();
  }

  // Shapes

  #paint(mine, pane) {
    const { items = [], describe } = this.#shown[this.#panes.indexOf(mine)] ?? {};
    // On paper the canvas is of another size: this scales with it.
    mine.svg.setAttribute("viewBox", `0 0 ${mine.figure.clientWidth} ${mine.figure.clientHeight}`);
    const shown = this.#viewer.image && !mine.figure.hidden ? items : [];
    for (const [item, nodes] of mine.nodes) {
      if (shown.includes(item) && nodes.handles.length === item.points.length) continue;
      nodes.group.remove();
      mine.nodes.delete(item);
    }
    shown.forEach((item, place) => {
      if (!mine.nodes.has(item)) mine.nodes.set(item, this.#made(mine, item));
      this.#set(mine.nodes.get(item), pane, item, place + 1, describe);
    });
    this.#paintCursor(mine);
  }

  #made({ svg }, item) {
    const group = shape("g", { class: "measurement" });
    const lines = linesOf(item).lines.map(() => [shape("line", { class: "halo" }), shape("line", {})]);
    const handles = item.points.map((_, place) => {
      const handle = shape("circle", { class: "handle", r: 6, tabindex: 0, role: "button" });
      return Object.assign(handle, { item, place });
    });
    const text = shape("text", {});
    group.append(...lines.flat(), ...handles, text);
    svg.append(group);
    return { group, lines, handles, text };
  }

  #set({ group, lines, handles, text }, pane, item, number, describe) {
    const at = (point) => this.#viewer.toScreen(pane, point);
    const drawn = linesOf(item);
    drawn.lines.forEach(([from, to], place) => {
      const [a, b] = [at(from), at(to)];
      for (const line of lines[place]) for (const [name, value] of Object.entries({ x1: a.x, y1: a.y, x2: b.x, y2: b.y })) line.setAttribute(name, value);
    });
    handles.forEach((handle, place) => {
      const { x, y } = at(item.points[place]);
      handle.setAttribute("cx", x);
      handle.setAttribute("cy", y);
      const { name, points } = KINDS[item.kind];
      handle.setAttribute("aria-label", `${name} ${number}, ${points[place]}: arrow keys move it, Delete takes the measurement away`);
    });
    const { x, y } = at(drawn.at);
    text.textContent = item.points.length < KINDS[item.kind].points.length ? "" : describe(item).short;
    // On the left of its point where it would be cut off on the right.
    const isCut = x + BESIDE + text.getComputedTextLength() > pane.figure.clientWidth && x < pane.figure.clientWidth;
    text.setAttribute("text-anchor", isCut ? "end" : "start");
    text.setAttribute("x", isCut ? x - BESIDE : x + BESIDE);
    text.setAttribute("y", y - 8);
    group.classList.toggle("draft", Boolean(item.isDraft));
  }

  #paintCursor(mine) {
    mine.svg.querySelector(".cursor")?.remove();
    if (!this.#cursor || !this.isOn || mine !== this.#panes[0]) return;
    const { x, y } = this.#cursor;
    mine.svg.append(shape("path", { class: "cursor", d: `M${x - 12} ${y}h24M${x} ${y - 12}v24` }));
  }
}
