// Answers as files for a person to keep: CSV and JSON made here, of what is already on the screen.
// Column names are those of `cxr predict --csv`.

const FORMULA = /^[=+\-@\t\r]/;

/** Return a cell that no spreadsheet takes for a formula, quoted where it must be. */
export function cell(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && FORMULA.test(text)) text = `'${text}`;
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** Return a header and a row for each answer, with a column for every class that any model knows. */
export function asCsv(answers, intendedUse) {
  const labels = [...new Set(answers.flatMap((answer) => Object.keys(answer.probabilities ?? {})))];
  const columns = [
    ...["file", "status", "code", "message", "label"],
    ...labels.map((label) => `score_${label}`),
    ...["calibrated", "temperature", "model", "warnings", "ms", "intended_use"],
  ];
  const rows = answers.map((answer) => [
    ...[answer.file, answer.status, answer.code, answer.message, answer.label],
    ...labels.map((label) => answer.probabilities?.[label]),
    ...[answer.calibrated, answer.temperature, answer.model],
    ...[(answer.warnings ?? []).join("; "), answer.ms, intendedUse],
  ]);
  return [columns, ...rows].map((row) => `${row.map(cell).join(",")}\n`).join("");
}

/** Return what the server said of each image; heat maps are pictures and stay behind. */
export function asJson(answers, intendedUse, version) {
  const told = answers.map(({ heat_map: _, ...rest }) => rest);
  return `${JSON.stringify({ intended_use: intendedUse, version, answers: told }, null, 2)}\n`;
}

/** Hand a file to the person. */
export function save(name, content, type) {
  const blob = content instanceof Blob ? content : new Blob([content], { type });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
