// The theme, set before the first paint. All that this page keeps in the browser is this one word.
"use strict";

(() => {
  const root = document.documentElement;
  const light = matchMedia("(prefers-color-scheme: light)");

  const kept = () => {
    try {
      return localStorage.getItem("theme");
    } catch {
      return null; // storage may be forbidden
    }
  };
  const keep = (theme) => {
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // then it lasts as long as the page
    }
  };
  const wanted = () => (["light", "dark"].includes(kept()) ? kept() : light.matches ? "light" : "dark");

  const show = (theme) => {
    root.dataset.theme = theme;
    const button = document.getElementById("theme");
    if (!button) return;
    document.getElementById("theme-name").textContent = theme === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `${theme === "dark" ? "Light" : "Dark"} theme`);
  };

  show(wanted());
  light.addEventListener("change", () => show(wanted()));
  document.addEventListener("DOMContentLoaded", () => {
    show(root.dataset.theme);
    document.getElementById("theme").addEventListener("click", () => {
      const theme = root.dataset.theme === "dark" ? "light" : "dark";
      keep(theme);
      show(theme);
    });
  });
})();
