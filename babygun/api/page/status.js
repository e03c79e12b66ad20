// What every view uses: the five statuses, times that stay up to date, text to copy.
import { h, s } from "./dom.js";
import { clockTime, countdown, dayTime, exact, now, relative } from "./format.js";
import { notify } from "./messages.js";

export const STATES = ["waiting", "sending", "complete", "failed", "cancelled"];

// The status of an e-mail from the API: one of the five.
export const stateOf = (email) =>
  email.status === "incomplete" ? (email.sending?.length ? "sending" : "waiting") : email.status;

// Statuses of recipients that are not final.
export const OPEN = new Set(["pending", "deferred"]);

// Words of the API for recipients, tries and events, each by the state that it belongs to.
const OF = {
  pending: "waiting",
  deferred: "waiting",
  held: "waiting",
  accepted: "waiting",
  retried: "waiting",
  due_now: "waiting",
  changed: "waiting",
  changed: "waiting",
  reclaimed: "waiting",
  draining: "waiting",
  claimed: "sending",
  delivered: "complete",
  alive: "complete",
  bounced: "failed",
  expired: "failed",
  suppressed: "cancelled",
  late: "failed",
  complained: "failed",
};

const SHAPES = {
  waiting: () => [
    s("circle", { cx: 8, cy: 8, r: 5.5, class: "line" }),
    s("path", { d: "M8 5v3l2 1.5", class: "line" }),
  ],
  sending: () => [s("path", { d: "M3.5 2.5 14 8 3.5 13.5 5.5 8z", class: "full" })],
  complete: () => [
    s("circle", { cx: 8, cy: 8, r: 6.5, class: "full" }),
    s("path", { d: "m5 8.2 2.1 2.1L11 6.2", class: "cut" }),
  ],
  failed: () => [
    s("path", { d: "M8 .8 15.2 8 8 15.2.8 8z", class: "full" }),
    s("path", { d: "M8 4.8v3.6M8 10.6v.6", class: "cut" }),
  ],
  cancelled: () => [
    s("rect", { x: 2.5, y: 2.5, width: 11, height: 11, rx: 2, class: "line" }),
    s("path", { d: "M5.5 8h5", class: "line" }),
  ],
};

// A status as shape, word and colour. `word`: one of the five, or a word of the API that belongs
// to one of them; any other, such as suppressed, looks as cancelled does.
export function badge(word, said = word) {
  const state = OF[word] ?? (word in SHAPES ? word : "cancelled");
  return h(
    "span",
    { class: `badge ${state}` },
    s(
      "svg",
      { viewBox: "0 0 16 16", width: 16, height: 16, "aria-hidden": "true" },
      SHAPES[state](),
    ),
    h("span", { class: "word" }, said),
  );
}

// A time, relative to now. The ticker below keeps it up to date.
export function when(text, kind = "ago") {
  if (!text) return null;
  const ms = Date.parse(text);
  return h("time", { datetime: text, "data-kind": kind, title: exact(ms) }, SAY[kind](ms));
}

// A text in which times stand as programs write them.
const SPOKEN = /(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?:Z| UTC|[+-]\d\d:\d\d))/;
export const spoken = (text) =>
  text
    .split(SPOKEN)
    .map((part, index) =>
      index % 2 ? when(part.replace(" UTC", "Z").replace(" ", "T"), "day") : part,
    );

// A text in which code stands in backticks.
export const spelled = (text) =>
  text.split("\x60").map((part, index) => (index % 2 ? h("code", null, part) : part));

const SAY = {
  ago: relative,
  clock: clockTime,
  day: dayTime,
  due: (ms) => `in ${countdown((ms - now()) / 1000)}`,
  countdown: (ms) => countdown((ms - now()) / 1000),
};

setInterval(() => {
  if (document.hidden) return;
  for (const node of document.querySelectorAll("time[data-kind]")) {
    const said = SAY[node.dataset.kind](Date.parse(node.dateTime));
    if (node.textContent !== said) node.textContent = said;
  }
}, 1000);

// Text with a button that copies it.
export function copyable(text, { block = false, label = "Copy" } = {}) {
  const button = h(
    "button",
    {
      type: "button",
      class: "quiet small",
      "aria-label": `${label}: ${text.slice(0, 60)}`,
      onclick: () => copy(text),
    },
    "Copy",
  );
  return h(
    "span",
    { class: block ? "copy block" : "copy" },
    h(block ? "pre" : "code", block ? { tabindex: 0, "aria-label": label } : null, text),
    button,
  );
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notify("Copied.");
  } catch {
    notify("The browser doesn't let the page copy. Select the text and copy it.");
  }
}

export const none = () => h("span", { class: "none" }, "–");

const NEARLY_FULL = 0.8;

// How much of something is used: `part` of 1.
export const meter = (part, label) =>
  h(
    "span",
    {
      class: part > NEARLY_FULL ? "slice meter full" : "slice meter",
      role: "meter",
      "aria-label": label,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": Math.round(part * 100),
    },
    h("span", { style: { left: "0", width: `${Math.min(100, part * 100)}%` } }),
  );

// A table that becomes cards where there is no room. `columns`: names, those of numbers in
// `numbers`; "" is that of buttons.
export const table = (kind, columns, rows, numbers = []) =>
  h(
    "table",
    { class: `stack ${kind}` },
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        columns.map((name) =>
          h(
            "th",
            { scope: "col", class: numbers.includes(name) ? "number" : null },
            name || h("span", { class: "hidden" }, "Actions"),
          ),
        ),
      ),
    ),
    h("tbody", null, rows),
  );

export const cell = (label, value, kind) =>
  h("td", { "data-label": label, class: kind }, h("div", null, value || none()));

// What a person has to know, each with a list item.
export const alerts = (key, items) =>
  h("div", { role: "alert", "data-key": key }, h("ul", { class: "held" }, items));

// Names and what they are: [[name, value], …]; an entry that is false is left out.
export const facts = (given) =>
  h(
    "dl",
    { class: "facts" },
    given
      .filter(Boolean)
      .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
  );

// What is shown this once, such as a secret. `given`: [[name, text], …]; `more` stands below it.
// `close()` is called when a person has it.
export const shownOnce = (label, title, given, close, ...more) =>
  h(
    "section",
    { class: "secret", tabindex: -1, "data-key": "secret", "aria-label": label },
    h("h2", null, title),
    h("p", null, "This is the only time that its secret is shown. Copy it now."),
    facts(given.map(([name, text]) => [name, copyable(text)])),
    more.map((one) => (one instanceof Node ? one : h("p", { class: "soft" }, one))),
    h("button", { type: "button", class: "quiet", onclick: close }, "I have it"),
  );

// A view, or a part of it, without anything to show: what that means, and what to do next.
const nothing =
  (heading) =>
  (title, ...more) =>
    h(
      "div",
      { class: "empty" },
      h(heading, null, title),
      more.map((one) => (one instanceof Node || !one ? one : h("p", null, one))),
    );

export const empty = nothing("h2");
export const emptyView = nothing("h1");

// What could not be read: what happened, and the way out. `heading`: h1 of a whole view.
export const failure = (error, again, heading = "h2") =>
  h(
    "div",
    { class: "empty", role: "alert" },
    h(heading, null, error.title ?? "Something went wrong"),
    h("p", null, error.message),
    error.requestId && h("p", { class: "soft" }, "Request ", h("code", null, error.requestId)),
    again && h("button", { type: "button", onclick: again }, "Try again"),
  );

// The codes and words of a server's reply; empty without one.
export const replyWords = (said) =>
  [said?.status_code, said?.enhanced_code, said?.status_reason].filter(Boolean).join(" ");

// An address, which breaks at its signs and not within a word.
export const address = (text) => text.split(/(?<=[@._+-])/).flatMap((part) => [part, h("wbr")]);
