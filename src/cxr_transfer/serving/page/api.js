// The server, asked politely: few requests at a time, and back off when it says that it is busy.
// Knows paths, tokens and waiting; knows nothing of what is on the screen.

const TRIES = 12;
const TRIES_LOST = 3; // an image that ends the process that reads it is not sent for ever
const LONGEST_WAIT_S = 30;
const MODELS_EVERY_MS = 500; // how often the server is asked which models are open
const REPORT_EVERY_MS = 400; // how often a report is asked how far it is
const UNNAMED = "image"; // a file's name may hold a patient's: it is sent for a report only

let token = null; // in memory only
let askForToken = async () => null;
let asking = null;
let closedUntil = 0; // one "busy" holds back every request, not only the one that was told

/** Set what asks a person for a token, told whether one was refused; it returns the token, or null. */
export function onTokenNeeded(ask) {
  askForToken = ask;
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

/** Return the server's answer for one image, with the envelope that it came in. */
export async function predict(file, model, explained) {
  const form = new FormData();
  form.append("files", file, UNNAMED);
  if (model) form.append("model", model);
  if (explained) form.append("heat_map", "true");
  const response = await request("v1/predict", form, { accepts: (status) => [413, 415, 422].includes(status) });
  const body = await response.json();
  if (!body.answers?.length) throw new Error(said(body, response));
  return body;
}

/** Return the image as the server decoded it, grey and 8 bits, and how large it is. */
export async function image(file, signal) {
  const form = new FormData();
  form.append("file", file, UNNAMED);
  const response = await request("v1/image", form, { signal });
  const picture = await createImageBitmap(await response.blob(), { colorSpaceConversion: "none" });
  // A large image is sent smaller than it is.
  const width = Number(response.headers.get("X-Cxr-Width")) || picture.width;
  const height = Number(response.headers.get("X-Cxr-Height")) || picture.height;
  return { picture, width, height };
}

/** Return a report of images as PDF; `onProgress` is told how many are done, `signal` cancels it. */
export async function report(files, model, other, onProgress, signal) {
  const form = new FormData();
  for (const file of files) form.append("files", file, file.name);
  if (model) form.append("model", model);
  if (other) form.append("other", other);
  const { id } = await (await request("v1/reports", form)).json();
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
      if (tried >= 4) throw new Error("The server cannot be reached.");
      holdBack(2 ** tried / 4);
      continue;
    }
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
    throw new Error(said(text, response));
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
