// Puts the addresses of a file on lists, some thousand lines at a time, with progress.
import { call, path } from "./api.js";
import { h, rescueFocus, show } from "./dom.js";
import { count, many } from "./format.js";

const LINES = 2000; // in one call
const SHOWN = 50; // errors

// The parts of a file: [{ text, line }], where `line` is what the part's first line is in the file.
// A line break within quotation marks parts nothing. Each part begins with the head of the columns.
export function parts(whole, ndjson) {
  const lines = whole.split(/\r?\n/);
  const head = !ndjson && !lines[0].includes("@") ? `${lines[0]}\n` : "";
  const found = [];
  let part = [];
  let line = head ? 2 : 1;
  let quoted = false;
  for (const [index, text] of lines.slice(head ? 1 : 0).entries()) {
    part.push(text);
    if (!ndjson && (text.split('"').length - 1) % 2) quoted = !quoted;
    if (part.length < LINES || (quoted && part.length < 2 * LINES)) continue;
    found.push({ text: head + part.join("\n"), line: line - (head ? 1 : 0) });
    line = index + (head ? 3 : 2);
    part = [];
  }
  if (part.some((text) => text.trim()))
    found.push({ text: head + part.join("\n"), line: line - (head ? 1 : 0) });
  return found;
}

// Imports a file in a dialog. `filters`: the list, reason and client that all rows get, where they
// are chosen. `done()` is called at the end.
export async function importInto(file, { list, reason, client }, done) {
  const text = await file.text();
  const ndjson = /\.(ndjson|jsonl)$/i.test(file.name) || text.startsWith("{");
  const all = parts(text, ndjson);
  const url = path("/suppressions/import", { list, reason, client });
  const sums = { rows: 0, added: 0, kept: 0, refused: 0 };
  const errors = [];
  let at = 0;
  let running = false;
  let trouble = null;
  const body = h("div");
  const dialog = h(
    "dialog",
    {
      "aria-labelledby": "asked",
      onclose() {
        running = false;
        dialog.remove();
        rescueFocus();
        done();
      },
    },
    h("h2", { id: "asked" }, `Import ${file.name}`),
    body,
  );

  async function run() {
    running = true;
    trouble = null;
    draw();
    try {
      for (; running && at < all.length; at += 1) {
        const part = all[at];
        const found = await call("POST", url, {
          raw: part.text,
          type: ndjson ? "application/x-ndjson" : "text/csv",
        });
        for (const name of Object.keys(sums)) sums[name] += found[name];
        for (const one of found.errors) errors.push({ ...one, line: part.line + one.line - 1 });
        draw();
      }
    } catch (error) {
      trouble = error;
    }
    running = false;
    draw();
  }

  function draw() {
    const ended = at >= all.length;
    const button = (word, onclick, kind) =>
      h("button", { type: "button", class: kind, "data-key": word, onclick }, word);
    show(
      body,
      h("progress", {
        "aria-label": "Parts of the file",
        max: all.length || 1,
        value: ended ? all.length || 1 : at,
      }),
      h(
        "p",
        { role: "status" },
        all.length
          ? `${many(sums.rows, "row")}${ended ? "" : " so far"}: ${count(sums.added)} added, ` +
              `${count(sums.kept)} there already, ${count(sums.refused)} refused.`
          : "The file has no rows.",
      ),
      trouble && h("p", { class: "wrong", role: "alert" }, trouble.message),
      errors.length > 0 &&
        h(
          "ul",
          { class: "plain errors", tabindex: 0, "aria-label": "Rows that were refused" },
          errors
            .slice(0, SHOWN)
            .map((one) => h("li", null, `Line ${count(one.line)}: ${one.detail}`)),
          errors.length > SHOWN && h("li", null, `and ${count(errors.length - SHOWN)} more`),
        ),
      h(
        "div",
        { class: "row end" },
        !running && !ended && button("Go on", run),
        running && button("Stop", () => (running = false), "quiet"),
        !running && button("Close", () => dialog.close(), "quiet"),
      ),
    );
  }

  document.body.append(dialog);
  dialog.showModal();
  await run();
}
