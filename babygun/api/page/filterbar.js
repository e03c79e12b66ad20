// The filters above the list of e-mails: search, times, clients, statuses with their numbers.
import { $, h, show } from "./dom.js";
import { instant, local } from "./fields.js";
import { count } from "./format.js";
import { names } from "./names.js";
import { badge, STATES } from "./status.js";
import { SPANS, typedOf, understand } from "./search.js";

// Recipients whose reasons belong to a status of e-mails.
const OF = { failed: ["bounced", "expired", "suppressed"], waiting: ["deferred"] };
const MOST_REASONS = 8;

// `set(changes)`: other filters. `find(id)`: opens one e-mail. `complain(why)`: of what was typed.
export function filterBar(tools, { filters, wrong, numbers, set, find, complain }) {
  const search = (event) => {
    event.preventDefault();
    const understood = understand($("[name=q]", tools).value);
    if (understood.open) return find(understood.open);
    if (understood.wrong) return complain(understood.wrong);
    set(understood);
  };
  const own = Boolean(filters.after || filters.before);
  const at = (name) =>
    h("input", {
      type: "datetime-local",
      "aria-label": name === "after" ? "From" : "Until",
      value: local(filters[name]),
      onchange: (event) => set({ span: "", [name]: instant(event.target.value) }),
    });
  const select = (label, value, options, onchange) =>
    h(
      "select",
      { "aria-label": label, onchange: (event) => onchange(event.target.value) },
      options.map(([key, word]) => h("option", { value: key, selected: key === value }, word)),
    );
  const spans = (what, more = []) => [
    ["", `${what} any time`],
    ...Object.entries(SPANS).map(([key, { words }]) => [key, `${what} in ${words}`]),
    ...more,
  ];
  const clients = names();
  show(
    tools,
    h(
      "form",
      { role: "search", onsubmit: search },
      h("input", {
        name: "q",
        type: "search",
        "data-still": "1",
        value: typedOf(filters),
        placeholder: "Words of the subject, recipient, @domain, from: tag: id:",
        "aria-label":
          "Search: words of the subject, recipient, @domain, from:address, tag:name, " +
          "reason:word, client:id or id",
        autocomplete: "off",
        autocapitalize: "none",
        spellcheck: "false",
      }),
      h("kbd", { "aria-hidden": "true" }, "/"),
    ),
    h(
      "div",
      { class: "row" },
      select(
        "Accepted",
        own ? "own" : (filters.span ?? ""),
        spans("Accepted", [["own", "Accepted from … to …"]]),
        (value) =>
          value === "own"
            ? set({ span: "", after: new Date(Date.now() - 86_400_000).toISOString() })
            : set({ span: value, after: "", before: "" }),
      ),
      select("Ended", filters.ended ?? "", spans("Ended"), (ended) => set({ ended })),
      clients.length > 1 &&
        select("Client", filters.client ?? "", [["", "Any client"], ...clients], (client) =>
          set({ client }),
        ),
    ),
    own &&
      h("div", { class: "span" }, at("after"), h("span", { class: "soft" }, "to"), at("before")),
    wrong && h("p", { class: "wrong", role: "alert" }, wrong),
    statuses(),
    reasons(),
  );

  // A number that may be larger, for not all e-mails are counted, has a plus.
  function number(value) {
    return (
      value > 0 &&
      h("span", { class: "soft" }, ` ${count(value)}${numbers.found.cursor ? "+" : ""}`)
    );
  }

  function statuses() {
    const status = filters.status ?? "";
    return h(
      "div",
      { class: "states", role: "group", "aria-label": "Status" },
      ["", ...STATES].map((state) =>
        h(
          "button",
          {
            type: "button",
            "aria-pressed": String(status === state),
            onclick: () => set({ status: state, reason: state === status ? filters.reason : "" }),
          },
          state ? badge(state) : "all",
          number(state ? numbers.found?.emails[state] : numbers.counted),
        ),
      ),
    );
  }

  // Why recipients of what is shown were not reached.
  function reasons() {
    const known = (numbers.found?.reasons ?? [])
      .filter(({ status, reason }) => reason && OF[filters.status]?.includes(status))
      .slice(0, MOST_REASONS);
    if (filters.reason && !known.some(({ reason }) => reason === filters.reason))
      known.push({ reason: filters.reason });
    return (
      known.length > 0 &&
      h(
        "div",
        { class: "states", role: "group", "aria-label": "Reason" },
        known.map(({ reason, count: value }) =>
          h(
            "button",
            {
              type: "button",
              "aria-pressed": String(filters.reason === reason),
              onclick: () => set({ reason: filters.reason === reason ? "" : reason }),
            },
            reason.replaceAll("_", " "),
            number(value),
          ),
        ),
      )
    );
  }
}
