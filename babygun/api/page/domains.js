// The sending domains: which there are, and whether DNS has what they need.
import { every, get, path, post } from "./api.js";
import { h, show } from "./dom.js";
import { many } from "./format.js";
import { field, fillIn } from "./messages.js";
import { client, names, withNames } from "./names.js";
import { Pages } from "./pages.js";
import { go } from "./router.js";
import { badge, cell, empty, failure, table, when } from "./status.js";

const REFRESH = 10_000; // ms between two readings
const SHOWN_AS = { verified: "complete", pending: "waiting", failed: "failed" };

export const domainBadge = ({ status }) => badge(SHOWN_AS[status], status);

// The records that keep a domain from being verified.
export const lacking = ({ records }) =>
  records.filter(({ status }) => ["missing", "wrong"].includes(status));

// A choice of clients; `held`: those by whom the domain is held now, by id.
export const clientChoice = (held, hint) =>
  h(
    "label",
    null,
    "Clients ",
    h("span", { class: "soft" }, hint),
    h(
      "select",
      { name: "clients", multiple: true, size: Math.min(6, Math.max(2, names().length)) },
      names().map(([id, name]) => h("option", { value: id, selected: held.includes(id) }, name)),
    ),
  );

export function open(root, { may }) {
  const pages = new Pages("domains", (page) => get(path("/domains", page)), draw);
  const admin = may("admin");

  const create = () => {
    let made;
    fillIn("New domain", {
      text:
        "You send from its addresses, and from those of its subdomains. Babygun makes a key " +
        "that signs its mail, and shows the records for your DNS.",
      fields: [
        field("Domain", {
          name: "name",
          required: true,
          placeholder: "example.com",
          autocapitalize: "none",
          spellcheck: "false",
        }),
        h(
          "label",
          { class: "check" },
          h("input", { type: "checkbox", name: "ed25519" }),
          h("span", null, "A second key, of Ed25519, beside that of RSA"),
        ),
        admin && names().length > 0 && clientChoice([], "none chosen: yourself"),
      ],
      action: "Create",
      async submit(form) {
        const clients = form.getAll("clients");
        made = await post("/domains", {
          name: form.get("name").trim(),
          ed25519: form.has("ed25519"),
          ...(clients.length ? { clients } : {}),
        });
      },
      done: () => go(`/page/domains/${made.name}`),
    });
  };

  function row(one) {
    const wrong = lacking(one);
    return h(
      "tr",
      { "data-key": one.name },
      h("th", { scope: "row" }, h("a", { href: `/page/domains/${one.name}` }, one.name)),
      cell("Status", domainBadge(one)),
      cell("DNS", [
        one.alarms.length > 0 && h("p", { class: "wrong" }, "mail servers complain"),
        wrong.length
          ? `${many(wrong.length, "record")} missing or wrong`
          : one.status === "verified"
            ? "all records are there"
            : "not looked up yet",
      ]),
      admin &&
        cell(
          "Clients",
          one.clients.map((id, at) => [at > 0 && ", ", client(id)]),
        ),
      cell("Looked up", when(one.checked_at)),
    );
  }

  function draw() {
    const { rows, cursor, trouble } = pages;
    const columns = ["Domain", "Status", "DNS", admin && "Clients", "Looked up"].filter(Boolean);
    show(
      root,
      h(
        "div",
        { class: "head" },
        h("h1", null, "Domains"),
        h("button", { type: "button", onclick: create }, "New domain"),
      ),
      trouble && failure(trouble, () => pages.read()),
      rows &&
        !rows.length &&
        empty(
          "No domains",
          "A sending domain has keys that sign its mail, and records in DNS by which " +
            "providers know that the mail is yours.",
        ),
      rows?.length > 0 && table("", columns, rows.map(row)),
      cursor &&
        h(
          "button",
          { type: "button", class: "quiet", onclick: () => pages.read(true) },
          "Show more",
        ),
    );
  }

  show(root, h("h1", null, "Domains"), h("p", { class: "soft" }, "Reading…"));
  pages.read();
  withNames(may, draw);
  const stop = every(REFRESH, () => !(pages.rows?.length > 100) && pages.read());
  return { keys: [["+", "new domain", create]], close: stop };
}
