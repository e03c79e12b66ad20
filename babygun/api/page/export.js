// Saves the e-mails that a filter lets through as a file, page by page, with progress.
import { h, rescueFocus, show } from "./dom.js";
import { count } from "./format.js";
import { doing } from "./messages.js";
import { stateOf } from "./status.js";

const COLUMNS = {
  id: ({ id }) => id,
  accepted: ({ created_at: at }) => at,
  status: stateOf,
  changed: ({ updated_at: at }) => at,
  client: ({ client_id: id }) => id,
  sender: ({ sender }) => sender,
  recipients: ({ recipients, many }) =>
    many
      ? `${many.first} and ${many.total - 1} others`
      : recipients.map((one) => one.email).join(" "),
  subject: ({ subject }) => subject,
  tags: ({ tags }) => tags.join(" "),
  reason: ({ status_reason: reason }) => reason ?? "",
};
const line = (cells) => `${cells.join(",")}\r\n`;
const KINDS = {
  CSV: {
    name: "emails.csv",
    type: "text/csv",
    head: line(Object.keys(COLUMNS)),
    line: (email) => line(Object.values(COLUMNS).map((of) => cell(of(email)))),
  },
  NDJSON: {
    name: "emails.ndjson",
    type: "application/x-ndjson",
    head: "",
    line: (email) => `${JSON.stringify(email)}\n`,
  },
};

// A cell of CSV. A spreadsheet would run one that begins with such a sign.
function cell(text) {
  const plain = text.replace(/[\x00-\x1f\x7f]+/g, " ");
  const harmless = /^[=+@'-]/.test(plain) ? `'${plain}` : plain;
  return /[",]/.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless;
}

// Asks for the kind, and saves. `page(cursor)`: a page of the list. `words`: the filter.
export function exportAll(page, words) {
  let running = false;
  let found = 0;
  let trouble = null;
  const body = h("div");
  const onclose = () => {
    running = false;
    dialog.remove();
    rescueFocus();
  };
  const dialog = h(
    "dialog",
    { "aria-labelledby": "asked", onclose },
    h("h2", { id: "asked" }, "Export e-mails"),
    body,
  );

  async function run({ name, type, head, line }) {
    const parts = [head];
    running = true;
    found = 0;
    trouble = null;
    try {
      let cursor = null;
      do {
        draw();
        const { emails, cursor: next } = await page(cursor);
        parts.push(...emails.map(line));
        found += emails.length;
        cursor = next;
      } while (cursor && running);
      if (running) save(new Blob(parts, { type }), name);
    } catch (error) {
      trouble = error;
    }
    running = false;
    draw();
  }

  function draw() {
    const button = (word, onclick, kind) =>
      h("button", { type: "button", class: kind, "data-key": word, onclick: doing(onclick) }, word);
    show(
      body,
      h(
        "p",
        null,
        words ? `All that match: ${words}.` : "All e-mails.",
        " Their content is left out.",
      ),
      h(
        "p",
        { role: "status" },
        running || found ? `${count(found)} e-mails${running ? " so far" : ""}` : "",
      ),
      trouble && h("p", { class: "wrong", role: "alert" }, trouble.message),
      h(
        "div",
        { class: "row end" },
        running
          ? button("Stop", () => (running = false), "quiet")
          : Object.entries(KINDS).map(([word, kind]) => button(word, () => run(kind))),
        !running && button("Close", () => dialog.close(), "quiet"),
      ),
    );
  }

  draw();
  document.body.append(dialog);
  dialog.showModal();
}

function save(blob, name) {
  const url = URL.createObjectURL(blob);
  h("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
