// Generated images for whoever has none at hand: drawn by the server, of nobody.

const NAMES = ["generated-1.png", "generated-2.png", "generated-3.png"];

/** Return generated images as a drop would give them, [{file, path}]. */
export async function generated() {
  return Promise.all(
    NAMES.map(async (name) => {
      const response = await fetch(`generated/${name}`, { credentials: "omit", referrerPolicy: "no-referrer" });
      if (!response.ok) throw new Error(`The server answered ${response.status}.`);
      return { file: new File([await response.blob()], name, { type: "image/png" }), path: `generated images/${name}` };
    }),
  );
}
