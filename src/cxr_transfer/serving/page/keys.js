// What keys do. Those of one letter can be switched off; arrows ask for the image to be in focus.

/** Let keys act on a viewer; `acts` are {nextImage, previousImage, heat, stronger, help, escape}. */
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
    ArrowLeft: () => viewer.setGreys({ window: viewer.view.window - 8 }),
    ArrowRight: () => viewer.setGreys({ window: viewer.view.window + 8 }),
    ArrowUp: () => viewer.setGreys({ level: viewer.view.level - 4 }),
    ArrowDown: () => viewer.setGreys({ level: viewer.view.level + 4 }),
  };

  document.addEventListener("keydown", (event) => {
    const { key, target } = event;
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (key === "Escape") acts.escape();
    const onImage = target === stage;
    const isWrittenIn = target.matches("select, textarea, input:not([type=range], [type=radio], [type=checkbox])");
    const letter = (onImage || (areOn() && !isWrittenIn)) && letters[key?.toLowerCase()];
    const act = (onImage && (event.shiftKey ? shifted : arrows)[key]) || letter;
    if (!act) return;
    event.preventDefault();
    act();
  });
}
