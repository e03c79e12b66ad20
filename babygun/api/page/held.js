// Why mail waits: sites that are held, queues that wait, and what servers or operators say of it.
// Their words are hostile input, shown as text only.
import { h } from "./dom.js";
import { alerts, replyWords, spoken, when } from "./status.js";

// The reply's codes and words; empty if there are none.
export const quoted = (said) => {
  const words = replyWords(said);
  return words && h("q", { class: "long" }, words);
};

export const held = (all) =>
  alerts(
    "held",
    all.map((one) =>
      h(
        "li",
        { "data-key": one.site, class: "wrong" },
        h("strong", { class: "long" }, one.sender ? `${one.site} for ${one.sender}` : one.site),
        " is held, begun ",
        when(one.since),
        ` (${one.reason}): `,
        quoted(one),
        one.sender ? ". No mail of this sender is sent there. " : ". No mail of it is sent. ",
        one.reason === "operator" || one.sender ? "It goes again " : "The next probe is due ",
        when(one.probe_at, "due"),
        ".",
      ),
    ),
  );

// Why one queue's recipients wait, and until when. A last try's reply stands elsewhere already.
export function waiting({ why, until, reply, explanation }) {
  const told = why === "retry" || !reply || explanation.includes(reply.status_reason);
  return h(
    "p",
    { class: "waits" },
    "Waits: ",
    spoken(explanation),
    until && [" (", when(until, "due"), ")"],
    ".",
    !told && [" ", quoted(reply)],
  );
}
