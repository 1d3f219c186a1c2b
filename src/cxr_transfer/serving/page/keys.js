// What keys do. Those of one letter can be switched off; arrows ask for the image to be in focus.

const PRESETS = ["2", "3", "4", "5", "6", "7", "8", "9"];

/**
 * Let keys act on the viewer that `viewerOf()` returns; arrows ask for one of `stages` in focus.
 *
 * `acts` are {nextImage, previousImage, heat, stronger, tool, measure, overlays, unlink, help, escape}.
 */
export function listenToKeys(viewerOf, stages, acts, areOn) {
  const letters = {
    i: () => viewerOf().setGreys({ invert: !viewerOf().view.invert }),
    r: () => viewerOf().reset(),
    h: () => acts.heat(),
    "[": () => acts.stronger(-0.1),
    "]": () => acts.stronger(0.1),
    w: () => acts.tool("window"),
    m: () => acts.tool("pan"),
    z: () => acts.tool("zoom"),
    "+": () => viewerOf().zoomBy(1.25),
    "=": () => viewerOf().zoomBy(1.25),
    "-": () => viewerOf().zoomBy(0.8),
    0: () => viewerOf().fit(),
    1: () => viewerOf().actualSize(),
    l: () => viewerOf().turn(270),
    t: () => viewerOf().turn(90),
    f: () => viewerOf().mirror(),
    v: () => viewerOf().mirror({ upsideDown: true }),
    ...Object.fromEntries(PRESETS.map((key, at) => [key, () => viewerOf().usePreset(at)])),
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
    ArrowLeft: () => viewerOf().panBy(40, 0),
    ArrowRight: () => viewerOf().panBy(-40, 0),
    ArrowUp: () => viewerOf().panBy(0, 40),
    ArrowDown: () => viewerOf().panBy(0, -40),
  };
  const shifted = {
    ArrowLeft: () => viewerOf().moveGreys(-8, 0),
    ArrowRight: () => viewerOf().moveGreys(8, 0),
    ArrowUp: () => viewerOf().moveGreys(0, -4),
    ArrowDown: () => viewerOf().moveGreys(0, 4),
  };

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (key === "Escape") acts.escape();
    const onImage = stages.includes(target);
    const isWrittenIn = target.matches("select, textarea, input:not([type=range], [type=radio], [type=checkbox])");
    const letter = (onImage || (areOn() && !isWrittenIn)) && letters[key?.toLowerCase()];
    const act = (onImage && (event.shiftKey ? shifted : arrows)[key]) || letter;
    if (!act) return;
    event.preventDefault();
    act();
  });
}
