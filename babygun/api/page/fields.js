// What people type into fields, as the API wants it, and back.

// The addresses in a text such as `"Ann" <a@x>, b@y`, one or more on a line. Commas within quotes
// and brackets separate nothing; nor do those within a name, as in `Lee, Ann <a@x>`.
export function addresses(typed) {
  const found = [];
  let name = ""; // what may be the first part of a name
  const parts = /((?:"(?:\\.|[^"\\])*"|<[^>]*>|\([^)]*\)|[^,;\n])+)([,;]?)/g;
  for (const [, one, separator] of typed.matchAll(parts))
    if (separator && !one.includes("@")) name += one + separator;
    else {
      found.push(...(one.trimEnd().endsWith(">") ? [name + one] : [name, one]));
      name = "";
    }
  return [...found, name].map((one) => one.trim().replace(/[,;]$/, "")).filter(Boolean);
}

// The lines of a text that are not empty.
export const lines = (typed) =>
  typed
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

export const tagsOf = (typed) => typed.split(/[\s,]+/).filter(Boolean);

// `name=value`, a line each.
export const metadataOf = (typed) =>
  Object.fromEntries(
    lines(typed).map((line) => {
      const [name, ...value] = line.split("=");
      return [name.trim(), value.join("=").trim()];
    }),
  );

export const metadataText = (metadata) =>
  Object.entries(metadata)
    .map(([name, value]) => `${name}=${value}`)
    .join("\n");

// A time as a field for date and time has it: in the browser's time zone, in minutes.
export function local(text) {
  if (!text) return "";
  const at = new Date(text);
  return new Date(at - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}

export const instant = (typed) => (typed ? new Date(typed).toISOString() : undefined);
