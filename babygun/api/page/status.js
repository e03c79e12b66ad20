// What every view uses: the five statuses, times that stay up to date, text to copy.
import { h, s } from "./dom.js";
import { clockTime, countdown, exact, now, relative } from "./format.js";
import { notify } from "./messages.js";

export const STATES = ["waiting", "sending", "complete", "failed", "cancelled"];

// The status of an e-mail from the API: one of the five.
export const stateOf = (email) =>
  email.status === "incomplete" ? (email.sending?.length ? "sending" : "waiting") : email.status;

// Words of the API for recipients, tries and events, each by the state that it belongs to.
const OF = {
  pending: "waiting",
  deferred: "waiting",
  held: "waiting",
  accepted: "waiting",
  retried: "waiting",
  reclaimed: "waiting",
  draining: "waiting",
  claimed: "sending",
  delivered: "complete",
  alive: "complete",
  bounced: "failed",
  expired: "failed",
  suppressed: "cancelled",
  late: "failed",
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
// to one of them.
export function badge(word, said = word) {
  const state = OF[word] ?? word;
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

const SAY = {
  ago: relative,
  clock: clockTime,
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

// A view without anything to show: what that means, and what to do next.
export const empty = (title, ...more) =>
  h(
    "div",
    { class: "empty" },
    h("h2", null, title),
    more.map((one) => (one instanceof Node ? one : h("p", null, one))),
  );

// A view that could not be read: what happened, and the way out.
export const failure = (error, again) =>
  h(
    "div",
    { class: "empty", role: "alert" },
    h("h2", null, error.title ?? "Something went wrong"),
    h("p", null, error.message),
    error.requestId && h("p", { class: "soft" }, "Request ", h("code", null, error.requestId)),
    again && h("button", { type: "button", onclick: again }, "Try again"),
  );
