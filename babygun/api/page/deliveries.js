// How deliveries go: rates by queue, reasons, times, and servers that do not answer. They are
// counted over the newest e-mails of a span.
import { path } from "./api.js";
import { h } from "./dom.js";
import { count, duration, many, now } from "./format.js";
import { Numbers, total, within } from "./numbers.js";
import { alerts, cell, replyWords, spoken, table, when } from "./status.js";
import { asked, SPANS } from "./search.js";

const PAGES = { hour: 5, day: 5 }; // thousands of e-mails that are counted by themselves
const FURTHER = 20;
const SHOWN = 12; // queues

const part = (some, all) =>
  all ? `${+((100 * some) / all).toFixed(some && some < all / 50 ? 1 : 0)} %` : "–";

// A queue whose last try came to no server, or lost it, and nothing was delivered since.
const silent = ({ last_failure: failed, delivered_at: at }) =>
  failed?.reply.reply_class === "network" && failed.at > (at ?? "");

// `span`: a span of search.js. `changed()` is called when there are other numbers.
export class Deliveries {
  constructor(changed) {
    this.span = "hour";
    this.numbers = new Numbers(() => asked({ span: this.span }, now()), changed);
    this.changed = changed;
  }

  read() {
    return this.numbers.read(PAGES[this.span]);
  }

  choose(span) {
    this.span = span;
    this.numbers.found = null;
    this.changed();
    this.read();
  }

  draw() {
    const { found, failure } = this.numbers;
    return h(
      "section",
      { "data-key": "deliveries" },
      found?.queues.some(silent) && this.alarms(found.queues.filter(silent)),
      h(
        "div",
        { class: "head" },
        h("h2", null, "Deliveries"),
        h(
          "div",
          { class: "states", role: "group", "aria-label": "Accepted in" },
          Object.keys(PAGES).map((span) =>
            h(
              "button",
              {
                type: "button",
                "aria-pressed": String(span === this.span),
                onclick: () => this.choose(span),
              },
              SPANS[span].words,
            ),
          ),
        ),
      ),
      failure && !found && h("p", { class: "wrong", role: "alert" }, failure.message),
      !found && !failure && h("p", { class: "soft" }, "Counting…"),
      found && this.said(found),
      found?.queues.length > 0 && queues(found.queues),
      found?.reasons.length > 0 && this.reasons(found.reasons),
    );
  }

  alarms(queues) {
    return alerts(
      "silent",
      queues.map((one) =>
        h(
          "li",
          { class: "wrong", "data-key": one.queue },
          h("strong", { class: "long" }, one.queue),
          " does not answer: ",
          h("q", { class: "long" }, spoken(replyWords(one.last_failure.reply))),
          " (",
          when(one.last_failure.at),
          one.delivered_at ? "). Nothing was delivered since " : "). Nothing was delivered",
          one.delivered_at ? when(one.delivered_at, "day") : ` in ${SPANS[this.span].words}`,
          ".",
        ),
      ),
    );
  }

  // What was counted, and how long deliveries took.
  said(found) {
    const { times, cursor } = found;
    return h(
      "p",
      { class: "soft" },
      `${cursor ? "The newest " : ""}${many(this.numbers.counted, "e-mail")} accepted in ` +
        `${SPANS[this.span].words}. `,
      times.length > 0 &&
        `From acceptance to delivery: half within ${duration(within(times, 0.5))}, 95 % ` +
          `within ${duration(within(times, 0.95))}. `,
      cursor &&
        h(
          "button",
          { type: "button", class: "quiet small", onclick: () => this.numbers.more(FURTHER) },
          "Count further",
        ),
    );
  }

  reasons(all) {
    return h(
      "p",
      { class: "reasons" },
      h("span", { class: "soft" }, "Not delivered: "),
      all
        .filter(({ reason }) => reason)
        .slice(0, SHOWN)
        .map(({ status, reason, count: value }) => [
          h(
            "a",
            { href: path("/page/emails", { reason, span: this.span }) },
            `${reason.replaceAll("_", " ")} (${status})`,
          ),
          ` ${count(value)} `,
        ]),
    );
  }
}

const SHARES = {
  delivered: "Delivered",
  bounced: "Bounced",
  deferred: "Deferred",
  expired: "Expired",
};
const NUMBERS = ["Recipients", ...Object.values(SHARES)];

const queues = (all) =>
  table(
    "",
    ["Queue", ...NUMBERS],
    all.slice(0, SHOWN).map((one) =>
      h(
        "tr",
        { "data-key": one.queue },
        h("th", { scope: "row", class: "long" }, one.queue),
        cell("Recipients", count(total(one)), "number"),
        Object.entries(SHARES).map(([status, label]) =>
          cell(label, part(one.by_status[status] ?? 0, total(one)), "number"),
        ),
      ),
    ),
    NUMBERS,
  );
