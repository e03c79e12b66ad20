// The warm-up of new addresses and sending domains: what they may send, and have sent, by day.
import { every, get, post } from "./api.js";
import { roundAbove } from "./chart.js";
import { h, s, show } from "./dom.js";
import { count, many, utcDay } from "./format.js";
import { ask, doing, notify } from "./messages.js";
import { byName, withNames } from "./names.js";
import { badge, cell, empty, failure, table } from "./status.js";

const REFRESH = 15_000; // ms between two readings: each reads etcd for every source
const SELDOM = 30_000; // the same for views of other things
const BEFORE = 28; // days before today that a curve shows
const AHEAD = 1; // days to come
const WIDTH = 640;
const HEIGHT = 64;

// What waits for the next day, for views of other things. `changed()` is called when it is another.
export function watchPutOff(changed) {
  let waits = [];
  const read = async () => {
    const { sources } = await get("/warm-ups").catch(() => ({ sources: [] }));
    const found = sources.flatMap(({ sites }) => sites.map((one) => one.waits).filter(Boolean));
    if (found.join() !== waits.join()) changed((waits = found));
  };
  read();
  return { close: every(SELDOM, read), draw: () => waits.length > 0 && putOffList(waits) };
}

const putOffList = (waits) =>
  h(
    "ul",
    { class: "held", "data-key": "warm-ups" },
    waits.map((words) =>
      h(
        "li",
        { "data-key": words },
        badge("waiting", "warm-up"),
        ` ${words.replace("warm-up of ", "")}: further mail waits for the next day. `,
        h("a", { href: "/page/warm-ups" }, "Warm-ups"),
      ),
    ),
  );

// The days of a curve: [{ day, date, sent, ceiling, put_off }]; those to come have no `sent`.
function daysOf({ day: today }, { days }, ceilings) {
  const known = new Map(days.map((one) => [one.day, one]));
  const found = [];
  const last = Math.max(today, Math.min(today + AHEAD, ceilings.length));
  for (let day = Math.max(1, today - BEFORE); day <= last; day += 1) {
    const ceiling = ceilings[day - 1] ?? null;
    found.push(known.get(day) ?? { day, ceiling, put_off: 0, sent: day > today ? null : 0 });
  }
  return found;
}

const said = ({ day, sent, ceiling, put_off: late }) =>
  [
    `day ${day}: ${sent === null ? "at most" : `${count(sent)} of`} `,
    ceiling === null ? "any number" : count(ceiling),
    late ? `, ${count(late)} put off` : "",
  ].join("");

// A bar for what was sent each day, below a line for what might be.
function curve(site, days) {
  const values = days.flatMap(({ sent, ceiling }) => [sent ?? 0, ceiling ?? 0]);
  const top = roundAbove(Math.max(...values));
  const width = WIDTH / days.length;
  const y = (value) => +(HEIGHT - (value / top) * HEIGHT).toFixed(1);
  let limit = "";
  let drawn = false;
  days.forEach(({ ceiling }, at) => {
    if (ceiling !== null)
      limit += `${drawn ? "L" : "M"}${at * width} ${y(ceiling)}H${(at + 1) * width}`;
    drawn = ceiling !== null;
  });
  const today = days.findLast(({ sent }) => sent !== null);
  return h(
    "div",
    { class: "curve", role: "img", "aria-label": `${site}, ${said(today)}` },
    s(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none" },
      days.map((one, at) =>
        s(
          "rect",
          {
            class: one === today ? "bar today" : "bar",
            x: at * width + width * 0.1,
            y: y(one.sent ?? 0),
            width: width * 0.8,
            height: HEIGHT - y(one.sent ?? 0),
          },
          s("title", null, said(one)),
        ),
      ),
      s("path", { class: "limit", d: limit }),
    ),
    h(
      "div",
      { class: "hours", "aria-hidden": "true" },
      h("span", null, `day ${days[0].day}`),
      h("span", null, `day ${days.at(-1).day}, at most ${count(days.at(-1).ceiling ?? top)}`),
    ),
  );
}

const numbers = (days) =>
  h(
    "details",
    null,
    h("summary", null, "In numbers"),
    table(
      "",
      ["Day", "Date", "Recipients", "At most", "Put off"],
      days
        .filter(({ sent }) => sent !== null)
        .reverse()
        .map((one) =>
          h(
            "tr",
            { "data-key": `${one.day}` },
            h("th", { scope: "row" }, `${one.day}`),
            cell("Date", one.date && utcDay(one.date)),
            cell("Recipients", count(one.sent), "number"),
            cell("At most", one.ceiling === null ? "no limit" : count(one.ceiling), "number"),
            cell("Put off", count(one.put_off), "number"),
          ),
        ),
      ["Recipients", "At most", "Put off"],
    ),
  );

function words({ began, ceiling, day, warm, skipped, set_by: by }, ceilings) {
  if (skipped) return "An operator ended its warm-up: it has no ceiling.";
  if (warm) return `It has no ceiling any more${began ? `: it began on ${utcDay(began)}` : ""}.`;
  if (!began)
    return `It was not used yet. On its first day it may send to ${many(ceiling, "recipient")}.`;
  const since = by === "settings" ? ", as the settings say" : by ? `, as ${byName(by)} wanted` : "";
  const next = ceilings[day];
  return (
    `It began on ${utcDay(began)}${since}. Today it may send to ${many(ceiling, "recipient")} ` +
    `of each provider, tomorrow to ${next ? count(next) : "any number"}.`
  );
}

export function open(root, { may }) {
  let found = null;
  let trouble = null;

  async function read() {
    try {
      found = await get("/warm-ups");
      trouble = null;
    } catch (error) {
      trouble = error;
    }
    draw();
  }

  const act = (source, what, word, title, text, danger) =>
    h(
      "button",
      {
        type: "button",
        class: "quiet small",
        "aria-label": `${word.replace("…", "")}: ${source}`,
        onclick: doing(async () => {
          if (!(await ask(title, text, word.replace("…", ""), { danger, keep: "Don't" }))) return;
          await post(`/warm-ups/${encodeURIComponent(source)}/${what}`);
          notify("It is done.");
          await read();
        }),
      },
      word,
    );

  const actions = ({ source, warm }) => [
    !warm &&
      act(
        source,
        "skip",
        "End it…",
        `End the warm-up of ${source}?`,
        "It has no ceiling any more. Providers that do not know it may refuse its mail, and " +
          "think worse of it for long.",
        true,
      ),
    act(
      source,
      "restart",
      "Begin again…",
      `Begin the warm-up of ${source} again?`,
      `Today is its first day: ${count(found.ceilings[0])} recipients of each provider at ` +
        "most. That is for one that was silent for a month, or that lost its good name.",
      false,
    ),
  ];

  function section(one) {
    const { source, kind, day, began, warm, sites, set_by: by } = one;
    return h(
      "section",
      { class: "warming", "data-key": source },
      h(
        "div",
        { class: "head" },
        h("h2", null, source, h("span", { class: "tag" }, kind)),
        h("div", { class: "row" }, may("admin") && by !== "settings" && actions(one)),
      ),
      h(
        "p",
        { class: "standing" },
        warm
          ? badge("complete", "warm")
          : badge(began ? "waiting" : "cancelled", began ? `day ${day}` : "not used yet"),
        h("span", null, words(one, found.ceilings)),
      ),
      h(
        "ul",
        { class: "curves" },
        sites.map((site) => {
          const days = daysOf(one, site, found.ceilings);
          return h(
            "li",
            { "data-key": site.site },
            h("h3", null, site.site),
            site.waits && h("p", { class: "waits" }, `Waits: ${site.waits}.`),
            !warm && curve(site.site, days),
            numbers(days),
          );
        }),
      ),
    );
  }

  function draw() {
    show(
      root,
      h("h1", null, "Warm-ups"),
      trouble && failure(trouble, read),
      found &&
        !found.on &&
        empty(
          "Nothing warms up",
          "With the setting warm_up, a new address or sending domain may send to few " +
            "recipients of each provider and day at first, and to more from day to day.",
        ),
      found?.on &&
        !found.sources.length &&
        empty("Nothing has a warm-up", "Mail that goes straight to its domains' hosts has one."),
      found?.sources.map(section),
    );
  }

  show(root, h("h1", null, "Warm-ups"), h("p", { class: "soft" }, "Reading…"));
  read();
  withNames(may, () => found && draw());
  return { keys: [], close: every(REFRESH, read) };
}
