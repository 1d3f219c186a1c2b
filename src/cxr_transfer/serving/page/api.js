// The server, asked politely: few requests at a time, and back off when it says that it is busy.
// Knows paths, tokens and waiting; knows nothing of what is on the screen.

const TRIES = 12;
const TRIES_LOST = 3; // an image that ends the process that reads it is not sent for ever
const LONGEST_WAIT_S = 30;
const MODELS_EVERY_MS = 500; // how often the server is asked which models are open
const REPORT_EVERY_MS = 400; // how often a report is asked how far it is
const UNNAMED = "image"; // a file's name may hold a patient's: the report alone gets it

const UNREADABLE = [413, 415, 422]; // what is said of an image, and not of the request

const LOOK_EVERY_MS = 2000; // whether a server that was lost is back

const NO_TOKEN = "This server asks for a token, and was given none that it takes. Ask who runs the server for one.";

const uploads = new WeakMap(); // file -> promise of {sha256}, while the server keeps it

let token = null; // in memory only
let askForToken = async () => null;
let asking = null;
let closedUntil = 0; // one "busy" holds back every request, not only the one that was told

/** Set what asks a person for a token, told whether one was refused; it returns the token, or null. */
export function onTokenNeeded(ask) {
  askForToken = ask;
}

let tellLost = () => {};
let looking = null; // the timer that looks whether the server is back

/** Set what is told that the server cannot be reached (true), and that it is back (false). */
export function onLost(tell) {
  tellLost = tell;
}

function lose() {
  if (looking !== null) return;
  tellLost(true);
  looking = setInterval(() => fetch("healthz", { cache: "no-store", credentials: "omit" }).then(find, () => {}), LOOK_EVERY_MS);
}

function find() {
  if (looking === null) return;
  clearInterval(looking);
  looking = null;
  tellLost(false);
}

/** Tell which models are open, and again while others are being opened. */
export async function models(onModels) {
  for (;;) {
    const catalogue = await (await request("v1/models")).json();
    onModels(catalogue);
    if (!catalogue.opening.length) return;
    await new Promise((resolve) => setTimeout(resolve, MODELS_EVERY_MS));
  }
}

/** Return what is known of a model: its audit as JSON and its card as Markdown; null what it has not. */
export async function known({ name, audit, card }) {
  const place = `v1/models/${encodeURIComponent(name)}`;
  return {
    audit: audit === "not done" ? null : await (await request(`${place}/audit`)).json(),
    card: card ? await (await request(`${place}/card`)).text() : null,
  };
}

/**
 * Upload a file once: {sha256}, by which the server is asked for all that is of it.
 *
 * What is under way goes on where `signal` ends the wait: every image is asked about sooner or later.
 */
export async function upload(file, signal) {
  signal?.throwIfAborted();
  if (!uploads.has(file)) {
    const coming = sent(file);
    uploads.set(file, coming);
    coming.catch(() => uploads.get(file) === coming && uploads.delete(file));
  }
  return signal ? Promise.race([uploads.get(file), aborted(signal)]) : uploads.get(file);
}

/**
 * Ask for what the server has of an uploaded file, and return its response.
 *
 * `path` stands behind the hash, such as "predictions?model=NAME"; `options` are those of `request`.
 * The server keeps images for a time only: one that is gone is uploaded again.
 */
export async function ofUploaded(file, path, options = {}) {
  const accepts = options.accepts ?? (() => false);
  for (let tried = 1; ; tried += 1) {
    const { sha256 } = await upload(file, options.signal);
    const first = tried === 1;
    const response = await request(`v1/images/${sha256}/${path}`, null, {
      ...options,
      accepts: (status) => accepts(status) || (first && status === 404),
    });
    if (response.status !== 404 || !first) return response;
    const body = await response.clone().json().catch(() => null);
    if (body?.code === "unknown_image") uploads.delete(file);
    else if (accepts(404)) return response;
    else throw new Error(said(body, response));
  }
}

async function sent(file) {
  const form = new FormData();
  form.append("files", file, UNNAMED);
  const { images } = await (await request("v1/images", form)).json();
  return { sha256: images[0].sha256 };
}

function aborted(signal) {
  return new Promise((_, reject) => {
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}

/**
 * Return the server's answer for one image, with the envelope that it came in.
 *
 * `change` is {rotate, flip, invert} where the image is to be assessed otherwise than the file has it.
 */
export async function predict(file, model, explained, change) {
  const query = new URLSearchParams({ ...(model && { model }), ...(explained && { heat_map: "true" }), ...change });
  const accepts = (status) => UNREADABLE.includes(status);
  const response = await ofUploaded(file, `predictions?${query}`, { method: "POST", accepts });
  const body = await response.json();
  if (!body.answers?.length) throw new Error(said(body, response));
  return body;
}

/** Return what the server tells of an image's grey values, size and pixel spacing. */
export async function facts(file, signal) {
  return (await ofUploaded(file, "facts", { signal })).json();
}

/** Tell whether a file can be read as an image. */
export async function isReadable(file) {
  return (await ofUploaded(file, "facts", { accepts: (status) => UNREADABLE.includes(status) })).ok;
}

/** Return samples of a part of an image, {x, y, width, height, scale}, each optional. */
export async function samples(file, part, signal) {
  const response = await ofUploaded(file, `samples?${new URLSearchParams(part)}`, { signal });
  return new Uint16Array(await response.arrayBuffer());
}

/** Return a report of images as PDF; `onProgress` is told how many are done, `signal` cancels it. */
export async function report(files, model, other, onProgress, signal) {
  const { id } = await (await begunReport(files, { ...(model && { model }), ...(other && { other }) }, signal)).json();
  try {
    for (;;) {
      signal.throwIfAborted();
      const progress = await (await request(`v1/reports/${id}`)).json();
      onProgress(progress.done);
      if (progress.report_status === "failed") throw new Error(progress.failure);
      if (progress.report_status === "done") return await (await request(`v1/reports/${id}/pdf`)).blob();
      await new Promise((resolve) => setTimeout(resolve, REPORT_EVERY_MS));
    }
  } finally {
    // Made, failed or cancelled: the server need not keep it. Where it is gone, that is as well.
    await request(`v1/reports/${id}`, null, { accepts: () => true, method: "DELETE" }).catch(() => {});
  }
}

/** Begin a report of uploaded files; those that the server keeps no more are uploaded again. */
async function begunReport(files, fields, signal) {
  for (let tried = 1; ; tried += 1) {
    const sha256 = [];
    for (const file of files) sha256.push((await upload(file, signal)).sha256);
    const asked = { sha256, names: files.map(({ name }) => name), ...fields };
    const body = new Blob([JSON.stringify(asked)], { type: "application/json" });
    const response = await request("v1/reports", body, { accepts: (status) => tried === 1 && status === 404, signal });
    if (response.ok) return response;
    const text = await response.json();
    if (text.code !== "unknown_image") throw new Error(said(text, response));
    for (const file of files) uploads.delete(file);
  }
}

async function request(path, body = null, { accepts = () => false, method = body ? "POST" : "GET", signal } = {}) {
  for (let tried = 1; ; tried += 1) {
    await untilOpen();
    signal?.throwIfAborted();
    const used = token;
    let response;
    try {
      response = await fetch(path, {
        method,
        body,
        signal,
        headers: used ? { Authorization: `Bearer ${used}` } : {},
        cache: "no-store",
        credentials: "omit",
        referrerPolicy: "no-referrer",
      });
    } catch {
      signal?.throwIfAborted();
      if (tried > 1) lose(); // One connection that breaks is no loss.
      if (tried >= 4) throw new Error("The server cannot be reached.");
      holdBack(2 ** tried / 4);
      continue;
    }
    find();
    if (response.ok || accepts(response.status)) return response;
    const text = await response.json().catch(() => null);
    if (response.status === 429 || response.status === 503) {
      const lost = [text?.code, text?.answers?.[0]?.code].includes("worker_lost");
      if (tried < (lost ? TRIES_LOST : TRIES)) {
        holdBack(retryAfter(response) ?? 2 ** tried / 4);
        continue;
      }
    }
    if (response.status === 401 && tried < TRIES) {
      if (token === used) {
        asking ??= askForToken(Boolean(used)).finally(() => (asking = null));
        token = (await asking) ?? token;
      }
      if (token !== used) continue;
    }
    throw new Error(response.status === 401 ? NO_TOKEN : said(text, response));
  }
}

function holdBack(seconds) {
  const spread = 1 + 0.25 * Math.random();
  closedUntil = Math.max(closedUntil, Date.now() + 1000 * Math.min(LONGEST_WAIT_S, seconds) * spread);
}

async function untilOpen() {
  while (closedUntil > Date.now()) {
    await new Promise((resolve) => setTimeout(resolve, closedUntil - Date.now()));
  }
}

function retryAfter(response) {
  const seconds = Number.parseFloat(response.headers.get("Retry-After"));
  return Number.isFinite(seconds) ? Math.max(0.1, seconds) : null;
}

function said(body, response) {
  return body?.answers?.[0]?.message || body?.message || `The server answered ${response.status}.`;
}
