// The live workers.
import { h, show } from "./dom.js";
import { count } from "./format.js";
import { cell, empty, failure, table, when } from "./status.js";
import { checkIn, sliceBar } from "./overview.js";
import { watchOverview } from "./watch.js";

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
        ? crew(data.workers)
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

function crew(workers) {
  return [
    h(
      "p",
      { class: "soft" },
      "Each looks after its part of the 256 shards; when one dies, the others take over its " +
        "part, and what it held.",
    ),
    table(
      "",
      COLUMNS,
      workers.map((one) =>
        h(
          "tr",
          { "data-key": one.id },
          h("th", { scope: "row" }, one.hostname, h("br"), h("code", { class: "soft" }, one.id)),
          cell("Check-in", [checkIn(one), " ", when(one.last_checkin)]),
          cell("Shards", [
            sliceBar(one.slice),
            h(
              "span",
              { class: "soft" },
              one.slice[1] > one.slice[0] ? ` ${one.slice[0]}–${one.slice[1] - 1}` : " none",
            ),
          ]),
          cell("In flight", count(one.in_flight), "number"),
          cell("Address", `${one.ip}, pid ${one.pid}`, "code"),
          cell("Version", one.version, "code"),
          cell("Started", when(one.started_at)),
        ),
      ),
      ["In flight"],
    ),
  ];
}
