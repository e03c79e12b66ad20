// The live workers.
import { h, show } from "./dom.js";
import { count } from "./format.js";
import { empty, failure, when } from "./status.js";
import { checkIn, sliceBar, watchOverview } from "./overview.js";

const COLUMNS = ["Worker", "Check-in", "Shards", "In flight", "Address", "Version", "Started"];

export function open(root) {
  show(root, h("h1", null, "Workers"));
  const stream = watchOverview((data, error) => {
    if (!data)
      return show(
        root,
        h("h1", null, "Workers"),
        failure(error, () => location.reload()),
      );
    show(
      root,
      h("h1", null, "Workers"),
      data.workers.length
        ? table(data.workers)
        : empty(
            "No worker is alive",
            "E-mails are taken, and wait until there is one.",
            h(
              "p",
              null,
              "Start one with ",
              h("code", null, "babygun worker"),
              " on any machine that reaches etcd.",
            ),
          ),
    );
  });
  return { keys: [], close: () => stream.close() };
}

function table(workers) {
  const cell = (label, kind, ...value) =>
    h("td", { "data-label": label, class: kind }, h("div", null, value));
  return [
    h(
      "p",
      { class: "soft" },
      "Each looks after its part of the 256 shards; when one dies, the others take over its part, and what it held.",
    ),
    h(
      "table",
      { class: "stack" },
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          COLUMNS.map((name) =>
            h("th", { scope: "col", class: name === "In flight" ? "number" : null }, name),
          ),
        ),
      ),
      h(
        "tbody",
        null,
        workers.map((one) =>
          h(
            "tr",
            { "data-key": one.id },
            h("th", { scope: "row" }, one.hostname, h("br"), h("code", { class: "soft" }, one.id)),
            cell("Check-in", null, checkIn(one), " ", when(one.last_checkin)),
            cell(
              "Shards",
              null,
              sliceBar(one.slice),
              h(
                "span",
                { class: "soft" },
                one.slice[1] > one.slice[0] ? ` ${one.slice[0]}–${one.slice[1] - 1}` : " none",
              ),
            ),
            cell("In flight", "number", count(one.in_flight)),
            cell("Address", "code", `${one.ip}, pid ${one.pid}`),
            cell("Version", "code", one.version),
            cell("Started", null, when(one.started_at)),
          ),
        ),
      ),
    ),
  ];
}
