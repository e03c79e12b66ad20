// The list of e-mails: newest first, filtered, live.
import { every, path } from "./api.js";
import { Selection } from "./bulk.js";
import { $, h, show } from "./dom.js";
import { exportAll } from "./export.js";
import { filterBar } from "./filterbar.js";
import { count, many, now, relative } from "./format.js";
import { Listing, timeOf } from "./listing.js";
import { follow } from "./live.js";
import { withNames } from "./names.js";
import { Numbers } from "./numbers.js";
import { empty, failure, badge, when } from "./status.js";
import { go, note } from "./router.js";
import { Rows } from "./rows.js";
import { asked, filtersOf, inWords, typedOf } from "./search.js";
import { notify } from "./messages.js";

const SETTLE = 100; // ms in which events are gathered before they are shown
const WAITING = 1000; // ms after which new e-mails that wait try again to be shown
const COUNT = 15_000; // ms between two counts
const FURTHER = 10; // thousands of e-mails that are counted when a person asks
const STILL = 3000; // ms after the pointer has moved over the list for which no row moves

let kept = null; // the list as it was left, with its selection: coming back finds it so

export const forget = () => (kept = null);

// The address of the list as it was left.
export const lastList = () => (kept ? path("/page/emails", kept.filters) : "/page/emails");

// The e-mails before and after one in the list as it was left.
export function neighbours(id) {
  const at = kept?.known.has(id) ? kept.place(id) : -1;
  return at < 0 ? {} : { newer: kept.rows[at - 1]?.id, older: kept.rows[at + 1]?.id };
}

// The e-mail of the list that the keys are on, when a person comes back.
export const stay = (id) => kept?.known.has(id) && (kept.current = id);

export function open(root, { query, may }) {
  let filters = filtersOf(query);
  let listing;
  let selection;
  let stream = null;
  let moved = 0; // when the pointer last moved over the list
  let wrong = "";
  let timer = null;
  const pending = [];
  // All that the other filters let through, by status.
  const numbers = new Numbers(
    () => ({ ...asked(filters, now()), status: "" }),
    () => (toolbar(), listing && draw()),
  );
  const list = h("ol", {
    class: "rows",
    onpointermove: (event) => event.pointerType === "mouse" && (moved = Date.now()),
    onpointerleave: () => (moved = 0),
  });
  const tools = h("div", { class: "tools" });
  const head = h("div", { class: "listhead" });
  const foot = h("div", { class: "listfoot" });
  const bulk = h("div", { id: "bulk" });
  show(root, h("h1", null, "E-mails"), tools, head, list, foot, bulk);
  const rows = new Rows(list, {
    row,
    nearEnd: () => !listing.failure && listing.rows.length && listing.more(),
  });

  function row(index) {
    const one = listing.rows[index];
    const chosen = selection.ids.has(one.id);
    const subject = one.subject || "(no subject)";
    return h(
      "li",
      {
        "data-key": one.id,
        class:
          [chosen && "chosen", one.past && "past", one.id === listing.current && "current"]
            .filter(Boolean)
            .join(" ") || null,
        "aria-setsize": listing.done ? listing.rows.length : -1,
        "aria-posinset": index + 1,
      },
      h(
        "label",
        { class: "pick" },
        h("input", {
          type: "checkbox",
          checked: chosen,
          "aria-label": `Choose: ${subject}, to ${one.to}`,
          onclick: (event) => selection.toggle(index, event.shiftKey),
        }),
      ),
      badge(one.state),
      h(
        "a",
        { href: `/page/emails/${one.id}`, onfocus: () => (listing.current = one.id) },
        h(
          "span",
          { class: "to" },
          one.to,
          one.others > 0 && h("span", { class: "soft" }, ` +${count(one.others)}`),
        ),
        h(
          "span",
          { class: "subject" },
          h("span", { class: "words" }, subject),
          one.tags.map((tag) => h("span", { class: "tag" }, tag)),
          one.reason && h("span", { class: `reason ${one.state}`, title: one.reason }, one.reason),
        ),
      ),
      one.due ? h("span", { class: "at" }, "next ", when(one.due, "due")) : when(one.at),
    );
  }

  function draw() {
    if (!listing.scroll) listing.shown = true;
    const { rows: found, done, busy, fresh } = listing;
    show(
      head,
      h(
        "span",
        { class: "row soft" },
        found.length > 0 && [
          selection.whole(),
          h(
            "span",
            null,
            done ? many(found.length, "e-mail") : `The newest ${count(found.length)}`,
          ),
        ],
        numbers.found?.cursor && [
          h("span", { class: "wide" }, `· ${count(numbers.counted)} counted`),
          h(
            "button",
            { type: "button", class: "quiet small", onclick: () => numbers.more(FURTHER) },
            "Count further",
          ),
        ],
      ),
      found.length > 0 &&
        h(
          "button",
          {
            type: "button",
            class: "quiet small",
            onclick: () => exportAll((cursor) => listing.page(cursor), inWords(filters)),
          },
          "Export…",
        ),
      fresh.size > 0 &&
        h(
          "button",
          { type: "button", class: "fresh", onclick: admitAll },
          `${count(fresh.size)} new`,
        ),
    );
    show(foot, ending());
    show(bulk, selection.bar(may("emails:send")));
    rows.set(found.length);
    // Whatever brought them: nobody has to come and say that they may be shown.
    if (fresh.size) timer ??= setTimeout(settle, WAITING);

    function ending() {
      if (listing.failure) return failure(listing.failure, () => listing.more());
      if (busy && !done)
        return h(
          "p",
          { class: "soft", role: "status" },
          listing.cursor && !found.length
            ? [
                `Looked back to ${relative(timeOf(listing.cursor))} `,
                h(
                  "button",
                  { type: "button", class: "quiet small", onclick: () => listing.stop() },
                  "Stop",
                ),
              ]
            : "Reading…",
        );
      if (!done)
        return h(
          "button",
          { type: "button", class: "quiet", onclick: () => listing.more() },
          found.length ? "Read older ones" : "Look further back",
        );
      if (found.length || fresh.size) return h("p", { class: "soft" }, "That is all.");
      if (Object.keys(filters).length)
        return empty(
          "Nothing matches",
          inWords(filters),
          h("button", { type: "button", onclick: () => filter({}) }, "Show all e-mails"),
        );
      return empty(
        "No e-mails yet",
        "They appear here the moment an application sends one.",
        may("emails:send")
          ? h("a", { class: "button", href: "/page/compose" }, "Send a test e-mail")
          : "",
      );
    }
  }

  const toolbar = () =>
    filterBar(tools, {
      filters,
      wrong,
      numbers,
      set: (changes) => filter({ ...filters, ...changes }),
      find: (id) => go(`/page/emails/${id}`),
      complain(why) {
        wrong = why;
        toolbar();
      },
    });

  // Other filters: another list, and the address says so.
  function filter(changes) {
    filters = filtersOf(changes);
    note(path("/page/emails", filters));
    begin();
  }

  function begin() {
    wrong = "";
    const field = $("[name=q]", tools);
    if (field) field.value = typedOf(filters);
    start(null);
  }

  function start(found) {
    pending.length = 0;
    stream?.close();
    listing = found ?? new Listing(filters, () => draw());
    listing.changed = draw;
    kept = listing;
    selection = listing.selection ??= new Selection(listing);
    selection.changed = draw;
    toolbar();
    draw();
    numbers.read(1);
    stream = follow(
      {},
      {
        email: (email) => gather(() => listing.arrived(email)),
        gone: ({ id }) => gather(() => listing.gone(id)),
        reset: () => (listing.forget(), listing.renew(true)),
        opened: () => listing.renew(true),
        poll: () => listing.renew(),
      },
    );
    if (!found) listing.more();
    else {
      rows.draw();
      scrollTo(0, found.scroll);
      const { current } = listing;
      if (listing.known.has(current)) {
        rows.reveal(listing.place(current));
        $(`[data-key="${current}"] a`, list)?.focus({ preventScroll: true });
      }
    }
  }

  function gather(change) {
    pending.push(change);
    timer ??= setTimeout(settle, SETTLE);
  }

  // Nothing moves under the pointer, nor while a person reads further down or has chosen rows: new
  // e-mails wait.
  const calm = () =>
    rows.above() === 0 &&
    Date.now() - moved > STILL &&
    !selection.ids.size &&
    !$(":focus-visible", list);

  function settle() {
    clearTimeout(timer);
    timer = null;
    for (const change of pending.splice(0)) change();
    if (calm()) listing.admit();
    draw();
  }

  function admitAll() {
    listing.admit();
    scrollTo(0, 0);
    draw();
  }

  function move(by) {
    const { rows: found } = listing;
    if (!found.length) return;
    const { current } = listing;
    const at =
      current && listing.known.has(current)
        ? listing.place(current) + by
        : by > 0
          ? rows.above()
          : 0;
    const index = Math.max(0, Math.min(found.length - 1, at));
    listing.current = found[index].id;
    rows.reveal(index);
    $(`[data-key="${listing.current}"] a`, list)?.focus({ preventScroll: true });
  }

  function pick() {
    const { current } = listing;
    if (current && listing.known.has(current)) selection.toggle(listing.place(current));
    else notify("Move to an e-mail first: j and k.");
  }

  // What was counted further is counted anew when a person asks.
  const stop = every(COUNT, () => numbers.counted <= 1000 && numbers.read(1));
  withNames(may, () => toolbar());
  const previous = kept && JSON.stringify(kept.filters) === JSON.stringify(filters) ? kept : null;
  start(previous);

  return {
    arrive: ({ query: next }) => {
      const wanted = filtersOf(next);
      if (JSON.stringify(wanted) === JSON.stringify(filters)) return;
      filters = wanted;
      begin();
    },
    keys: [
      ["/", "search", () => $("[name=q]", tools).select()],
      ["j", "next e-mail", () => move(1)],
      ["k", "e-mail before", () => move(-1)],
      ["x", "choose it, or not", pick],
      ["a", "show what is new", admitAll],
      ["Escape", "choose nothing", () => selection.clear()],
    ],
    close() {
      listing.scroll = scrollY;
      listing.changed = selection.changed = () => {};
      for (const change of pending.splice(0)) change();
      clearTimeout(timer);
      stop();
      numbers.stop();
      stream.close();
      rows.close();
    },
  };
}
