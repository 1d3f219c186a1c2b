// What is dropped or chosen becomes a list of {file, path}, folders opened to their ends.
// Knows nothing of servers; judges no content, only passes over what operating systems leave behind.

const CLUTTER = new Set(["thumbs.db", "desktop.ini", "__macosx", "dicomdir"]);

const isClutter = (path) =>
  path.split("/").some((part) => part.startsWith(".") || CLUTTER.has(part.toLowerCase()));

// Files, and not, say, selected text.
function holdsFiles(transfer) {
  return [...(transfer?.types ?? [])].includes("Files");
}

/**
 * Return the images of a drop, and how many files or folders in it cannot be read.
 * A transfer is empty after the event, so its items are taken first.
 */
export async function dropped(transfer) {
  const items = [...transfer.items].filter((item) => item.kind === "file");
  const taken = items.map((item) => {
    const entry = item.webkitGetAsEntry?.();
    return entry?.isDirectory ? entry : item.getAsFile();
  });
  const found = await Promise.all(taken.map((one) => (one instanceof File ? [whole(one)] : within(one))));
  const all = found.flat();
  return { found: tidy(all.filter(Boolean)), lost: all.filter((one) => !one).length };
}

/** Return the images of a file or folder picker. */
export function chosen(files) {
  return tidy([...files].map(whole));
}

const whole = (file) => ({ file, path: file.webkitRelativePath || file.name });

const tidy = (images) => images.filter(({ path }) => !isClutter(path));

// What cannot be read is null: it is not to take the rest of a drop with it.
async function within(folder) {
  if (!folder) return [null];
  const reader = folder.createReader();
  const entries = [];
  const found = [];
  for (;;) {
    // A reader hands out a hundred entries at a time.
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve(null)));
    if (!some) found.push(null);
    if (!some?.length) break;
    entries.push(...some);
  }
  entries.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }));
  for (const entry of entries) {
    if (entry.isDirectory) found.push(...(await within(entry)));
    else found.push(await opened(entry));
  }
  return found;
}

async function opened(entry) {
  const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
  return file && { file, path: entry.fullPath.replace(/^\/+/, "") };
}

/** Listen to files that are dragged over the page: `show(over)` marks it, `take(event)` has what was dropped. */
export function listenToDrops(show, take) {
  let entered = 0;
  const on = (kind, act) =>
    addEventListener(kind, (event) => {
      if (holdsFiles(event.dataTransfer)) act(event);
    });
  on("dragenter", (event) => {
    event.preventDefault();
    entered += 1;
    show(true);
  });
  on("dragover", (event) => event.preventDefault());
  on("dragleave", () => {
    entered = Math.max(0, entered - 1);
    show(entered > 0);
  });
  on("drop", (event) => {
    event.preventDefault();
    entered = 0;
    show(false);
    take(event.dataTransfer);
  });
}
