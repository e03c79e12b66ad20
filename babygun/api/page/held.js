// Held queues: which, since when, and what the server says.
import { h } from "./dom.js";
import { when } from "./status.js";

// The words are the server's: hostile input, shown as text only.
export function held(all) {
  return h(
    "ul",
    { class: "held", role: "alert" },
    all.map((one) =>
      h(
        "li",
        { "data-key": one.queue, class: "wrong" },
        h("strong", { class: "long" }, one.queue),
        " is held, begun ",
        when(one.since),
        ` (${one.reason}): `,
        h(
          "q",
          { class: "long" },
          [one.status_code, one.enhanced_code, one.status_reason].filter(Boolean).join(" "),
        ),
        ". No mail of it is sent. The next probe is due ",
        when(one.probe_at, "due"),
        ".",
      ),
    ),
  );
}
