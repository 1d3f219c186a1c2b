// What is known of a model, in a dialog: the reasons for doubt that its audit found, and its card.
// Knows as much of Markdown as a card has: headings, tables, lists, strong words. Makes text only.

import { element } from "./elements.js";
import { audit } from "./results.js";

/** Open the dialog over a model's audit and card; null where there is none. */
export function tellOf(panel, model, known) {
  panel.querySelector("h2").textContent = model.name;
  panel.querySelector(".about").replaceChildren(
    ...(known.audit ? [element("h3", { text: "Audit" }), ...audited(model, known.audit)] : []),
    ...(known.card ? markdown(known.card) : []),
  );
  panel.showModal();
  panel.scrollTop = 0;
}

function audited(model, { checks, score_scale: scale }) {
  const rows = checks.map(({ title, verdict, reading }) =>
    element(
      "tr",
      {},
      element("td", {}, element("span", { class: `chip ${verdict === "not done" ? "none" : verdict}`, text: verdict })),
      element("th", { scope: "row", text: title }),
      element("td", { text: reading }),
    ),
  );
  return [
    element("p", { text: audit(model).sentence }),
    element("p", { text: `Scores that were audited: ${scale}. Scores that it gives: ${model.score_scale}.` }),
    rows.length ? element("table", { class: "checks" }, element("tbody", {}, ...rows)) : null,
  ].filter(Boolean);
}

/** Return the elements of a card's Markdown; headings go below the dialog's own. */
export function markdown(text) {
  return text.trim().split(/\n{2,}/).map((block) => {
    const lines = block.split("\n");
    const heading = /^(#{1,3}) (.*)$/.exec(block);
    if (heading) return element(`h${heading[1].length + 2}`, {}, ...words(heading[2]));
    if (lines.every((line) => line.startsWith("|"))) return table(lines);
    if (lines.every((line) => line.startsWith("* "))) {
      return element("ul", {}, ...lines.map((line) => element("li", {}, ...words(line.slice(2)))));
    }
    return element("p", {}, ...words(lines.join(" ")));
  });
}

function table([heads, , ...rows]) {
  const cells = (line) => line.slice(1, -1).split(/(?<!\\)\|/).map((cell) => words(cell.trim().replaceAll("\\|", "|")));
  const row = (line) => element("tr", {}, ...cells(line).map((cell) => element("td", {}, ...cell)));
  return element(
    "table",
    {},
    element("thead", {}, element("tr", {}, ...cells(heads).map((cell) => element("th", { scope: "col" }, ...cell)))),
    element("tbody", {}, ...rows.map(row)),
  );
}

function words(text) {
  const marked = { "**": "strong", "*": "em", "`": "code" };
  return text.split(/(\*\*.+?\*\*|\*[^*]+\*|`[^`]+`)/).filter(Boolean).map((part) => {
    const sign = Object.keys(marked).find((one) => part.length > 2 * one.length && part.startsWith(one) && part.endsWith(one));
    return sign ? element(marked[sign], { text: part.slice(sign.length, -sign.length) }) : part;
  });
}
