// What keys do. Those of one letter can be switched off; arrows ask for the image to be in focus.

const PRESETS = ["2", "3", "4", "5", "6", "7", "8", "9"];

/** Let keys act on a viewer; `acts` are {nextImage, previousImage, heat, stronger, measure, overlays, unlink, help, escape}. */
export function listenToKeys(viewer, stage, acts, areOn) {
  const letters = {
    i: () => viewer.setGreys({ invert: !viewer.view.invert }),
    r: () => viewer.reset(),
    h: () => acts.heat(),
    "[": () => acts.stronger(-0.1),
    "]": () => acts.stronger(0.1),
    w: () => viewer.setTool("window"),
    m: () => viewer.setTool("pan"),
    z: () => viewer.setTool("zoom"),
    "+": () => viewer.zoomBy(1.25),
    "=": () => viewer.zoomBy(1.25),
    "-": () => viewer.zoomBy(0.8),
    0: () => viewer.fit(),
    1: () => viewer.actualSize(),
    l: () => viewer.turn(270),
    t: () => viewer.turn(90),
    f: () => viewer.mirror(),
    v: () => viewer.mirror({ upsideDown: true }),
    ...Object.fromEntries(PRESETS.map((key, at) => [key, () => viewer.usePreset(at)])),
    d: () => acts.measure("length"),
    a: () => acts.measure("angle"),
    c: () => acts.measure("ratio"),
    o: () => acts.overlays(),
    u: () => acts.unlink(),
    n: () => acts.nextImage(),
    p: () => acts.previousImage(),
    "?": () => acts.help(),
  };
  const arrows = {
    ArrowLeft: () => viewer.panBy(40, 0),
    ArrowRight: () => viewer.panBy(-40, 0),
    ArrowUp: () => viewer.panBy(0, 40),
    ArrowDown: () => viewer.panBy(0, -40),
  };
  const shifted = {
    ArrowLeft: () => viewer.moveGreys(-8, 0),
    ArrowRight: () => viewer.moveGreys(8, 0),
    ArrowUp: () => viewer.moveGreys(0, -4),
    ArrowDown: () => viewer.moveGreys(0, 4),
  };

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (key === "Escape") acts.escape();
    const onImage = target === stage;
    const isWrittenIn = target.matches("select, textarea, input:not([type=range])");
    const letter = (onImage || (areOn() && !isWrittenIn)) && letters[key?.toLowerCase()];
    const act = (onImage && (event.shiftKey ? shifted : arrows)[key]) || letter;
    if (!act) return;
    event.preventDefault();
    act();
  });
}
