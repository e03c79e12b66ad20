// Addresses that no mail goes to, and why: find them, add some, take them off.
import { call, get, path, post } from "./api.js";
import { $, h, show } from "./dom.js";
import { many } from "./format.js";
import { importInto } from "./import.js";
import { ask, doing, field, fillIn, notify } from "./messages.js";
import { client, names, withNames } from "./names.js";
import { foot, Pages } from "./pages.js";
import { go } from "./router.js";
import { address, cell, empty, failure, none, table, when } from "./status.js";

const REASONS = {
  hard_bounce: "hard bounce",
  complaint: "complaint",
  unsubscribe: "unsubscribed",
  manual: "by hand",
};
const NAMES = ["prefix", "reason", "list", "client"];
const COLUMNS = ["Address", "Mail", "Reason", "Since", "Until", "Why", ""];

export function open(root, { query, may }) {
  let filters = wanted(query);
  const readPage = (page) => get(path("/suppressions", { ...filters, ...page }));
  const pages = new Pages("suppressions", readPage, draw);
  const tools = h("div", { class: "tools" });
  const body = h("div");
  const file = h("input", {
    type: "file",
    hidden: true,
    accept: ".csv,.ndjson,.jsonl,.txt",
    "aria-label": "File to import",
    onchange: () => {
      const [chosen] = file.files;
      if (chosen) importInto(chosen, filters, () => pages.read());
      file.value = "";
    },
  });
  show(
    root,
    h(
      "div",
      { class: "head" },
      h("h1", null, "Suppressions"),
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", onclick: () => add() }, "Add an address"),
        h("button", { type: "button", class: "quiet", onclick: () => file.click() }, "Import…"),
        h("a", { class: "button quiet", id: "export", download: "" }, "Export"),
      ),
    ),
    file,
    tools,
    body,
  );

  const filter = (changes) => go(path("/page/suppressions", wanted({ ...filters, ...changes })));

  const select = (name, label, all, options) =>
    h(
      "select",
      { "aria-label": label, onchange: (event) => filter({ [name]: event.target.value }) },
      Object.entries({ "": all, ...options }).map(([value, word]) =>
        h("option", { value, selected: value === (filters[name] ?? "") }, word),
      ),
    );

  function toolbar() {
    $("#export", root).href = path("/suppressions/export", filters);
    const search = (event) => {
      event.preventDefault();
      const typed = (name) => $(`[name=${name}]`, tools).value.trim();
      filter({ prefix: typed("q"), list: typed("list") });
    };
    show(
      tools,
      h(
        "form",
        { role: "search", class: "row", onsubmit: search },
        h("input", {
          name: "q",
          type: "search",
          value: filters.prefix,
          placeholder: "An address, or how it begins",
          "aria-label": "Search: an address, or how it begins",
          autocapitalize: "none",
          spellcheck: "false",
        }),
        h("input", {
          name: "list",
          value: filters.list,
          placeholder: "List",
          "aria-label": "List; * is all mail",
          autocapitalize: "none",
        }),
        h("button", { class: "quiet" }, "Search"),
      ),
      h(
        "div",
        { class: "row" },
        select("reason", "Reason", "Any reason", REASONS),
        names().length > 0 && select("client", "Client", "Any client", Object.fromEntries(names())),
      ),
    );
  }

  const add = () =>
    fillIn("Add an address", {
      text: "No mail goes there from now on. What is being sent at this moment goes on.",
      fields: [
        field("Address", { name: "email", required: true, autocapitalize: "none" }),
        h(
          "label",
          null,
          "Reason",
          h(
            "select",
            { name: "reason" },
            Object.entries(REASONS).map(([value, word]) =>
              h("option", { value, selected: value === "manual" }, word),
            ),
          ),
        ),
        field(
          "List",
          { name: "list", value: filters.list ?? "*", required: true },
          "* is all mail",
        ),
      ],
      action: "Add",
      submit: (form) =>
        post(path("/suppressions", { client: filters.client }), Object.fromEntries(form)),
      async done() {
        notify("The address is suppressed.");
        await pages.read();
      },
    });

  const remove = (one) =>
    doing(async () => {
      const mail = one.list === "*" ? "Mail" : `Mail of the list ${one.list}`;
      if (
        !(await ask(
          `Take ${one.email} off?`,
          `${mail} goes there again, also what waits. If the mailbox does not exist, or its ` +
            "owner wants no mail, that harms your name as a sender.",
          "Take it off",
          { danger: true },
        ))
      )
        return;
      const query = { list: one.list, client: may("admin") ? one.client_id : null };
      await call("DELETE", path(`/suppressions/${encodeURIComponent(one.email)}`, query));
      notify(`${one.email} is free again.`);
      await pages.read();
    });

  function row(one) {
    const words = [one.status_code, one.enhanced_code, one.reply].filter(Boolean).join(" ");
    return h(
      "tr",
      { "data-key": `${one.client_id} ${one.list} ${one.email}` },
      h(
        "th",
        { scope: "row" },
        address(one.email),
        may("admin") && h("div", { class: "soft" }, "of ", client(one.client_id)),
      ),
      cell("Mail", one.list === "*" ? "all" : h("span", { class: "tag" }, one.list)),
      cell("Reason", REASONS[one.reason] ?? one.reason),
      cell("Since", when(one.since)),
      cell("Until", one.until ? when(one.until, "day") : "for ever"),
      cell("Why", [
        words ? h("q", { class: "long" }, words) : one.by ? `by ${one.by}` : none(),
        one.email_id && [" ", h("a", { href: `/page/emails/${one.email_id}` }, "e-mail")],
      ]),
      h(
        "td",
        { class: "end" },
        h(
          "button",
          {
            type: "button",
            class: "quiet small",
            "aria-label": `Take off ${one.email}`,
            onclick: remove(one),
          },
          "Take off…",
        ),
      ),
    );
  }

  function draw() {
    const { rows: found, cursor, trouble } = pages;
    const filtered = Object.keys(filters).length > 0;
    show(
      body,
      trouble
        ? failure(trouble, () => pages.read())
        : !found
          ? h("p", { class: "soft" }, "Reading…")
          : found.length
            ? table("suppressions", COLUMNS, found.map(row))
            : empty(
                filtered ? "Nothing matches" : "No address is suppressed",
                filtered
                  ? h("a", { class: "button", href: "/page/suppressions" }, "Show all")
                  : "Addresses come here when their mailbox does not exist, or its owner " +
                      "wants no mail.",
              ),
      found && !trouble && (found.length > 0 || cursor)
        ? foot(
            pages,
            `${many(found.length, "address", "addresses")}${cursor ? " so far" : ""}`,
            "Show more",
          )
        : null,
    );
  }

  function begin() {
    pages.begin();
    toolbar();
    draw();
    pages.read();
  }

  withNames(may, () => {
    toolbar();
    draw();
  });
  begin();
  return {
    arrive({ query: next }) {
      filters = wanted(next);
      begin();
    },
    keys: [
      ["/", "search", () => $("[name=q]", tools).select()],
      ["+", "add an address", add],
    ],
    close() {},
  };
}

const wanted = (query) =>
  Object.fromEntries(NAMES.filter((name) => query[name]).map((name) => [name, query[name]]));
