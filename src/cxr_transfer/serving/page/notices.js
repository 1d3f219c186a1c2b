// What the page says: over the image, in the note below, and aloud to those who do not see it.

const SETTLED_MS = 150; // who goes through the list fast hears of the last image alone

const $ = (id) => document.getElementById(id);

let act = null; // what the button of the note does besides closing it
let sayDue = null;
const unsaid = new Map(); // text by what it is about

/** Say something over the image; "" takes it away. */
export function stageMessage(text) {
  $("stage-message").textContent = text;
  $("stage-message").hidden = !text;
}

/** Have a text read aloud, with those about something else that come at the same time. */
export function say(text, about = "image") {
  unsaid.delete(about);
  unsaid.set(about, text);
  clearTimeout(sayDue);
  sayDue = setTimeout(() => {
    $("live").textContent = [...unsaid.values()].filter(Boolean).join(" ");
    unsaid.clear();
  }, SETTLED_MS);
}

/** Say something that is not of the image that is looked at; its button may do something else than close. */
export function note(text, button = "Close", pressed = null) {
  act = pressed;
  $("note-text").textContent = text;
  $("note-close").textContent = button;
  $("note").hidden = !text;
  say(text);
}

/** Tell whether the note is there whose button does this. */
export const isNoted = (pressed) => act === pressed;

/** Change the words of the note whose button does this, while it is there; tell whether it is. */
export function rewrite(pressed, text) {
  if (!isNoted(pressed)) return false;
  $("note-text").textContent = text;
  return true;
}

/** Ask whether something is wanted that cannot be taken back. */
export function confirmed(title, text, act) {
  const panel = $("confirm-panel");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-act").textContent = act;
  panel.returnValue = "";
  panel.showModal();
  return new Promise((resolve) => {
    panel.addEventListener("close", () => resolve(panel.returnValue === "yes"), { once: true });
  });
}

$("note-close").addEventListener("click", () => {
  const pressed = act;
  note("");
  pressed?.();
});
