// The description of the API: what does not hold the words that are looked for is hidden.

const search = document.getElementById("search");
const found = document.getElementById("found");
const sections = [...document.querySelectorAll("main section")];
const links = [...document.querySelectorAll("nav li")];

search.addEventListener("input", () => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const section of sections) {
    const text = section.textContent.toLowerCase();
    section.hidden = !words.every((word) => text.includes(word));
    shown += section.hidden ? 0 : 1;
  }
  for (const link of links) link.hidden = document.getElementById(link.dataset.for).hidden;
  found.textContent = words.length ? `${shown} of ${sections.length} sections` : "";
});
