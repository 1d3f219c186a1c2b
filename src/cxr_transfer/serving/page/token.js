// A token, where the server asks for one: kept by nobody but who asked for it.

const $ = (id) => document.getElementById(id);

/** Ask a person for a token, and say whether one was refused; resolve to null where none is given. */
export function askForToken(refused) {
  const panel = $("token-panel");
  $("token-wrong").hidden = !refused;
  $("token").value = "";
  panel.returnValue = "";
  panel.showModal();
  return new Promise((resolve) => {
    panel.addEventListener("close", () => resolve(panel.returnValue === "use" ? $("token").value : null), { once: true });
  });
}
