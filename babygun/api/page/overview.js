// What goes on: rates, queues, workers, API processes and etcd.
import { alarmList } from "./alarms.js";
import { every, path } from "./api.js";
import { chart } from "./chart.js";
import { Deliveries } from "./deliveries.js";
import { h, show } from "./dom.js";
import { bytes, count, duration, many, rate } from "./format.js";
import { failure, badge, meter, when } from "./status.js";
import { held } from "./held.js";
import { rename } from "./router.js";
import { watchPutOff } from "./warmups.js";
import { AGAIN, HOUR, SERIES, tail, watchOverview } from "./watch.js";

// What the chart shows, in points.
const RANGES = { "5m": ["5 min", 60], "15m": ["15 min", 180], "1h": ["1 hour", HOUR] };

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

export function open(root, { query, may }) {
  let range = query.range in RANGES ? query.range : "1h";
  let last = null;
  const again = () => last && draw(root, last, { range, choose, deliveries, named, warmUps });
  const named = (domain) =>
    may("domains")
      ? h("a", { href: `/page/domains/${domain}` }, domain)
      : h("strong", null, domain);
  const deliveries = may("emails:read") && new Deliveries(again);
  const choose = (wanted) => {
    range = wanted;
    rename(path("/page/overview", { range: range === "1h" ? "" : range }));
    again();
  };
  const warmUps = watchPutOff(again);
  const stream = watchOverview((data, error) => {
    if (!data)
      return show(
        root,
        h("h1", null, "Overview"),
        failure(error, () => location.reload()),
      );
    last = data;
    again();
  });
  show(
    root,
    h("h1", null, "Overview"),
    h("div", { class: "figures" }),
    h("p", { class: "soft" }, "Reading…"),
  );
  const stop = deliveries && every(AGAIN, () => deliveries.read());
  if (deliveries) deliveries.read();
  return {
    keys: [],
    close() {
      stream.close();
      warmUps.close();
      if (!deliveries) return;
      stop();
      deliveries.numbers.stop();
    },
  };
}

function draw(root, data, { range, choose, deliveries, named, warmUps }) {
  const { rates, history, workers, apis, etcd } = data;
  show(
    root,
    h("h1", null, "Overview"),
    data.problem && h("p", { class: "wrong", role: "alert", "data-key": "problem" }, data.problem),
    data.held?.length > 0 &&
      h("section", { "data-key": "held" }, h("h2", null, "Held sites"), held(data.held)),
    warmUps.draw(),
    data.domain_alarms?.length > 0 &&
      h(
        "section",
        { "data-key": "complaints" },
        h("h2", null, "Mail servers complain"),
        alarmList(data.domain_alarms, named),
      ),
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
        h(
          "span",
          { class: "label" },
          deliveries ? h("a", { href: "/page/emails?status=sending" }, "In flight") : "In flight",
        ),
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
    deliveries && deliveries.draw(),
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
              meter(one.db_in_use_bytes / one.quota_bytes, "Database in use, of the quota"),
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
        "Alarm: ",
        alarms.map((one) => (typeof one === "string" ? one : JSON.stringify(one))).join(", "),
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
