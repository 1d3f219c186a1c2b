// Elements from text, never from markup: what a file is called can do nothing here.

/** Return an element; `text` and children become text nodes, `null` children are left out. */
export function element(tag, { text, ...attributes } = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  if (text !== undefined) made.textContent = text;
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.append(document.createElementNS(space, "use"));
  svg.firstChild.setAttribute("href", `icons.svg#${name}`);
  return svg;
}

/** Return a name as it may be shown: characters that cannot be seen or that turn a line round are marked. */
export function shown(name) {
  return name.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\uFFFD");
}

/** Return a class score as it is said: of 100, with one digit, and never certain. */
export function score(value) {
  const written = (100 * value).toFixed(1);
  return { "100.0": ">99.9", "0.0": "<0.1" }[written] ?? written;
}
