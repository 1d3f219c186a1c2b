// What is taken off the list can be put back for a while: all of it at once, however often something was taken off.
// Knows the order of the list; takes nothing off and puts nothing back itself.

import { shown } from "./elements.js";
import { isNoted, note } from "./notices.js";

const UNDO_MS = 15000;

let offered = null; // {undo, before, gone}: what the note's button puts back
let due = null;

/**
 * Offer to put images back that were taken off a list; `before` is the list as it was.
 *
 * `putBack(all, gone)` is called with the list as it then is to be, and with what comes back.
 */
export function offerUndo(some, before, now, putBack) {
  const last = offered && isNoted(offered.undo) ? offered : { before: [], gone: [] };
  const gone = [...last.gone, ...some];
  const known = new Set(last.before);
  // What came since stands behind what was there.
  const all = [...last.before, ...before.filter((image) => !known.has(image))];
  const undo = () => {
    const there = new Set(all);
    putBack([...all, ...now().filter((image) => !there.has(image))], gone);
  };
  offered = { undo, before: all, gone };
  note(gone.length === 1 ? `${shown(gone[0].file.name)} taken off the list.` : `${gone.length} images taken off the list.`, "Undo", undo);
  clearTimeout(due);
  due = setTimeout(endUndo, UNDO_MS);
}

/** Take the offer back, where it stands. */
export function endUndo() {
  if (offered && isNoted(offered.undo)) note("");
  offered = null;
}
