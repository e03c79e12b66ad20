// Who changed what: a client, an operator's command, or a process.
import { get, path } from "./api.js";
import { $, h, show } from "./dom.js";
import { count } from "./format.js";
import { names, client, withNames } from "./names.js";
import { foot, Pages } from "./pages.js";
import { go } from "./router.js";
import { SPANS } from "./search.js";
import { badge, cell, empty, failure, table, when } from "./status.js";

const NAMES = ["target", "action", "by", "outcome", "span"];
const COLUMNS = ["When", "Who", "What", "To", "Details", "Outcome"];
const OUTCOMES = { done: "complete", begun: "waiting", failed: "failed", unknown: "waiting" };
const VIA = { api: "", command: "by a command", process: "a process" };

// A call's name: "holdSite" -> "hold site".
const inWords = (action) => action.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

const filtersOf = (query) => {
  const found = NAMES.filter((name) => query[name]).map((name) => [name, [query[name]].flat()[0]]);
  return Object.fromEntries(found.filter(([name, value]) => name !== "span" || value in SPANS));
};

function asked({ span, ...filters }) {
  const after = span && new Date(Date.now() - SPANS[span].seconds * 1000).toISOString();
  return { ...filters, after };
}

export function open(root, { query, may }) {
  let filters = filtersOf(query);
  const readPage = (page) => get(path("/audit", { ...asked(filters), ...page }));
  const pages = new Pages("entries", readPage, draw);
  const tools = h("div", { class: "tools" });
  const body = h("div");
  show(root, h("h1", null, "Audit"), tools, body);

  const filter = (changes) => go(path("/page/audit", filtersOf({ ...filters, ...changes })));

  const select = (name, label, all, options) =>
    h(
      "select",
      { "aria-label": label, onchange: (event) => filter({ [name]: event.target.value }) },
      [["", all], ...options].map(([value, word]) =>
        h("option", { value, selected: value === (filters[name] ?? "") }, word),
      ),
    );

  function toolbar() {
    const search = (event) => {
      event.preventDefault();
      const typed = (name) => $(`[name=${name}]`, tools).value.trim();
      filter({ target: typed("target"), action: typed("action") });
    };
    const words = (name, label, given) =>
      h("input", {
        name,
        value: filters[name],
        "aria-label": label,
        placeholder: label,
        autocapitalize: "none",
        spellcheck: "false",
        ...given,
      });
    show(
      tools,
      h(
        "form",
        { role: "search", class: "row", onsubmit: search },
        words("target", "An id, a domain, a site, an address", { type: "search" }),
        words("action", "A call: holdSite"),
        h("button", { class: "quiet" }, "Search"),
      ),
      h(
        "div",
        { class: "row" },
        select("by", "Who", "Anybody", names()),
        select(
          "outcome",
          "Outcome",
          "Any outcome",
          Object.keys(OUTCOMES).map((one) => [one, one]),
        ),
        select(
          "span",
          "When",
          "Any time",
          Object.entries(SPANS).map(([span, { words: said }]) => [span, `In ${said}`]),
        ),
      ),
    );
  }

  const row = (one) =>
    h(
      "tr",
      { "data-key": one.id },
      h("th", { scope: "row" }, when(one.at)),
      cell("Who", [
        client(one.by),
        (VIA[one.via] || one.address) && h("p", { class: "soft" }, VIA[one.via] || one.address),
      ]),
      cell("What", inWords(one.action)),
      cell("To", one.target && h("code", { class: "long" }, one.target)),
      cell(
        "Details",
        Object.entries(one.details).map(([name, value]) =>
          h("p", { class: "long" }, h("span", { class: "soft" }, `${name} `), value),
        ),
      ),
      cell("Outcome", [
        badge(OUTCOMES[one.outcome], one.outcome),
        one.reason && h("p", { class: "soft long" }, one.reason),
      ]),
    );

  function draw() {
    const { rows: entries, cursor, trouble } = pages;
    const filtered = Object.keys(filters).length > 0;
    show(
      body,
      trouble && failure(trouble, () => pages.read()),
      !entries && !trouble && h("p", { class: "soft" }, "Reading…"),
      entries &&
        !entries.length &&
        !cursor &&
        empty(
          filtered ? "Nothing matches" : "Nothing was changed yet",
          filtered
            ? h("a", { class: "button", href: "/page/audit" }, "Show all")
            : "Changes by the API, by commands and by processes stand here, newest first.",
        ),
      entries?.length > 0 && table("audit", COLUMNS, entries.map(row)),
      entries &&
        (entries.length > 0 || cursor) &&
        foot(
          pages,
          cursor ? `${count(entries.length)} so far` : "That is all.",
          "Look further back",
        ),
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
      filters = filtersOf(next);
      begin();
    },
    keys: [["/", "search", () => $("[name=target]", tools).select()]],
    close() {},
  };
}
