// What goes on: rates, queues, workers, API processes and etcd.
import { every, get, path } from "./api.js";
import { chart } from "./chart.js";
import { h, show } from "./dom.js";
import { bytes, count, duration, many, rate } from "./format.js";
import { follow } from "./live.js";
import { failure, badge, when } from "./status.js";
import { held } from "./held.js";
import { rename } from "./router.js";

const HOUR = 720; // points of the history, 5 s each
// What the chart shows, in points.
const RANGES = { "5m": ["5 min", 60], "15m": ["15 min", 180], "1h": ["1 hour", HOUR] };
const SERIES = [
  ["accepted", "Accepted", "accepted"],
  ["delivered", "Delivered", "complete"],
  ["deferred", "Deferred", "waiting"],
  ["failed", "Failed", "failed"],
];
// Points that the history may be behind the rates: every process must have reported a step.
const BEHIND = 6;
const AGAIN = 60_000; // ms after which it is read again
const NEARLY_FULL = 0.8; // of etcd's quota

let remembered = null; // the history as it was last: a process that starts again knows none

// The data of GET /overview, kept up to date. `changed(data, error)`; the history is data.history.
export function watchOverview(changed) {
  let data = null;
  let history = null;
  let updates = 0;
  async function read() {
    const before = updates;
    try {
      const found = await get("/overview");
      const { accepted, start } = found.history;
      history = remembered = whole(found.history, remembered);
      // What the stream has brought meanwhile is newer.
      data = { ...(updates === before ? found : data), history };
      data.since = accepted.length < HOUR ? start : null;
      changed(data, null);
    } catch (error) {
      changed(data, error);
    }
  }
  function update(next) {
    if (!history) return;
    updates += 1;
    extend(history, next);
    data = { ...next, history, since: data.since };
    changed(data, null);
  }
  const stream = follow(
    { only: "overview" },
    { overview: update, opened: read, reset: read, poll: read },
  );
  const stop = every(AGAIN, read);
  read();
  return {
    close() {
      stop();
      stream.close();
    },
  };
}

// A process that runs for less than an hour knows less: the chart shows the hour all the same, with
// what this page has seen of it.
function whole(history, before) {
  const lacking = Math.max(0, HOUR - history.accepted.length);
  const startMs = Date.parse(history.start) - lacking * history.step * 1000;
  const shift = before ? Math.round((startMs - Date.parse(before.start)) / 1000 / before.step) : 0;
  return {
    start: new Date(startMs).toISOString(),
    step: history.step,
    ...Object.fromEntries(
      SERIES.map(([name]) => [
        name,
        [...Array(lacking).fill(null), ...history[name]].map((value, index) =>
          index < lacking ? (before?.[name][index + shift] ?? value) : value,
        ),
      ]),
    ),
  };
}

// The history goes on with each second's rates until it is read again.
function extend(history, { at, rates }) {
  const index = Math.floor((Date.parse(at) - Date.parse(history.start)) / 1000 / history.step);
  const known = history.accepted.length;
  if (index < 0 || index > known + HOUR) return;
  for (const [name] of SERIES) {
    const values = history[name];
    const lately = index - values.length <= BEHIND; // else nothing is known of the time between
    while (values.length < index) values.push(lately ? rates[name] : null);
    if (values.length === index) values.push(rates[name]);
    values.splice(0, Math.max(0, values.length - HOUR));
  }
  const dropped = Math.max(0, index + 1 - HOUR);
  if (dropped)
    history.start = new Date(
      Date.parse(history.start) + dropped * history.step * 1000,
    ).toISOString();
}

export const checkIn = (worker) =>
  worker.draining
    ? badge("draining", "stopping")
    : badge(worker.heartbeat_age > 10 ? "late" : "alive");

export const sliceBar = ([from, to]) =>
  h(
    "span",
    { class: "slice", title: `Shards ${from} to ${to - 1} of 256` },
    h("span", {
      style: { left: `${(from / 256) * 100}%`, width: `${((to - from) / 256) * 100}%` },
    }),
  );

export function open(root, { query }) {
  let range = query.range in RANGES ? query.range : "1h";
  let last = null;
  const choose = (wanted) => {
    range = wanted;
    rename(path("/page/overview", { range: range === "1h" ? "" : range }));
    draw(root, last, range, choose);
  };
  const stream = watchOverview((data, error) => {
    if (!data)
      return show(
        root,
        h("h1", null, "Overview"),
        failure(error, () => location.reload()),
      );
    last = data;
    draw(root, data, range, choose);
  });
  show(
    root,
    h("h1", null, "Overview"),
    h("div", { class: "figures" }),
    h("p", { class: "soft" }, "Reading…"),
  );
  return { keys: [], close: () => stream.close() };
}

// The end of the history.
function tail(history, points) {
  const from = Math.max(0, history.accepted.length - points);
  const start = new Date(Date.parse(history.start) + from * history.step * 1000).toISOString();
  return {
    start,
    step: history.step,
    ...Object.fromEntries(SERIES.map(([name]) => [name, history[name].slice(from)])),
  };
}

function draw(root, data, range, choose) {
  const { rates, history, workers, apis, etcd } = data;
  show(
    root,
    h("h1", null, "Overview"),
    data.problem && h("p", { class: "wrong", role: "alert", "data-key": "problem" }, data.problem),
    data.held?.length > 0 &&
      h("section", { "data-key": "held" }, h("h2", null, "Held sites"), held(data.held)),
    h(
      "div",
      { class: "figures" },
      SERIES.map(([name, label, kind]) =>
        h(
          "div",
          { class: `figure ${kind}` },
          h("span", { class: "label" }, h("span", { class: "line" }), label),
          h("span", { class: "value" }, rate(rates[name]), h("span", { class: "unit" }, "/s")),
        ),
      ),
      h(
        "div",
        { class: "figure" },
        h("span", { class: "label" }, "In flight"),
        h("span", { class: "value" }, data.in_flight === null ? "–" : count(data.in_flight)),
      ),
    ),
    h(
      "div",
      { class: "states ranges", role: "group", "aria-label": "What the chart shows" },
      Object.entries(RANGES).map(([key, [word]]) =>
        h(
          "button",
          { type: "button", "aria-pressed": String(key === range), onclick: () => choose(key) },
          word,
        ),
      ),
    ),
    chart(tail(history, RANGES[range][1]), SERIES),
    data.since &&
      history.accepted.includes(null) &&
      h(
        "p",
        { class: "soft", "data-key": "since" },
        "This API process knows the rates since ",
        when(data.since, "day"),
        ": it started then.",
      ),
    h(
      "div",
      { class: "columns" },
      h("section", null, h("h2", null, "Queues"), queues(data.queues)),
      h("section", null, h("h2", null, "etcd"), members(etcd)),
    ),
    h(
      "div",
      { class: "columns" },
      h(
        "section",
        null,
        h("h2", null, h("a", { href: "/page/workers" }, many(workers.length, "worker"))),
        crew(workers),
      ),
      h(
        "section",
        null,
        h("h2", null, many(apis.length, "API process", "API processes")),
        processes(apis),
      ),
    ),
  );
}

function queues(all) {
  if (!all) return h("p", { class: "soft" }, "Not known while etcd does not answer.");
  if (!all.length) return h("p", { class: "soft" }, "Nothing waits.");
  return h(
    "table",
    null,
    h(
      "thead",
      null,
      h(
        "tr",
        null,
        h("th", { scope: "col" }, "Queue"),
        h("th", { scope: "col", class: "number" }, "Ready"),
        h("th", { scope: "col", class: "number" }, "Waiting"),
        h("th", { scope: "col", class: "number" }, "Oldest ready"),
      ),
    ),
    h(
      "tbody",
      null,
      all.map((one) =>
        h(
          "tr",
          { "data-key": one.queue },
          h("th", { scope: "row", class: "long" }, one.queue),
          h("td", { class: "number" }, count(one.ready)),
          h(
            "td",
            { class: "number" },
            h("a", { href: "/page/schedule" }, count(one.waiting)),
            one.overdue_seconds > 5 &&
              h("span", { class: "wrong" }, ` ${duration(one.overdue_seconds)} late`),
          ),
          h(
            "td",
            { class: "number" },
            one.oldest_ready_seconds
              ? duration(one.oldest_ready_seconds)
              : h("span", { class: "none" }, "–"),
          ),
        ),
      ),
    ),
  );
}

const fullness = (part) =>
  h(
    "span",
    {
      class: part > NEARLY_FULL ? "slice meter full" : "slice meter",
      role: "meter",
      "aria-label": "Database in use, of the quota",
      "aria-valuemin": 0,
      "aria-valuemax": 100,
      "aria-valuenow": Math.round(part * 100),
    },
    h("span", { style: { left: "0", width: `${Math.min(100, part * 100)}%` } }),
  );

function members({ members: all, alarms }) {
  return [
    h(
      "ul",
      { class: "plain" },
      all.map((one) =>
        h(
          "li",
          { "data-key": one.endpoint },
          h(
            "div",
            { class: "row" },
            badge(one.ok ? "complete" : "failed", one.ok ? "healthy" : "away"),
            h("code", null, one.endpoint.replace(/^https?:\/\//, "")),
            one.leader && h("span", { class: "tag" }, "leader"),
            h("span", { class: "soft" }, one.version),
          ),
          one.ok &&
            one.quota_bytes > 0 &&
            h(
              "div",
              { class: "row" },
              fullness(one.db_in_use_bytes / one.quota_bytes),
              h(
                "span",
                { class: "soft" },
                `${bytes(one.db_in_use_bytes)} of ${bytes(one.quota_bytes)}`,
              ),
            ),
          one.problem && h("p", { class: "wrong" }, one.problem),
        ),
      ),
    ),
    alarms?.length > 0 &&
      h(
        "p",
        { class: "wrong", role: "alert" },
        `Alarm: ${alarms.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", ")}`,
      ),
  ];
}

function crew(workers) {
  if (!workers.length)
    return h(
      "p",
      { class: "wrong" },
      "No worker is alive: e-mails are taken, and wait. Start one with ",
      h("code", null, "babygun worker"),
      ".",
    );
  return h(
    "ul",
    { class: "plain" },
    workers
      .slice(0, 8)
      .map((one) =>
        h(
          "li",
          { "data-key": one.id },
          h(
            "div",
            { class: "row" },
            checkIn(one),
            h("span", { class: "long" }, one.hostname),
            sliceBar(one.slice),
            h("span", { class: "soft number" }, `${count(one.in_flight)} in flight`),
            when(one.last_checkin),
          ),
        ),
      ),
    workers.length > 8 &&
      h("li", null, h("a", { href: "/page/workers" }, `and ${workers.length - 8} more`)),
  );
}

function processes(apis) {
  return h(
    "ul",
    { class: "plain" },
    apis.map((one) =>
      h(
        "li",
        { "data-key": one.id },
        h(
          "div",
          { class: "row" },
          badge("alive"),
          h("span", { class: "long" }, one.hostname),
          h("span", { class: "soft" }, one.version),
          h("span", { class: "soft number" }, `${count(one.accepted)} accepted`),
          when(one.last_checkin),
        ),
      ),
    ),
  );
}
