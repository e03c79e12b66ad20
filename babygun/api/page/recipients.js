// The recipients of one e-mail: the worst first, and each with what its server said.
import { h } from "./dom.js";
import { count } from "./format.js";
import { waiting } from "./held.js";
import { OPEN, address, badge, cell, table, when } from "./status.js";

const RECIPIENTS = 50; // shown before a person asks for more
const FEW = 10; // recipients that need no filter and no order
// The worst first.
const WORST = "bounced expired deferred pending suppressed cancelled delivered".split(" ");

// An erased recipient's address is a mark.
const erased = ({ erased_at: at }) => h("span", { class: "soft" }, "erased ", when(at));

const link = ({ email }) =>
  h(
    "a",
    {
      href: `/page/emails?recipient=${encodeURIComponent(email)}`,
      title: "All e-mails to this recipient",
    },
    address(email),
  );

// Returns a function that gives the table of an e-mail. `changed()` is called when a person wants
// to see others.
export function recipientTable(may, changed) {
  let most = RECIPIENTS;
  let only = ""; // the status of the recipients that are shown

  function rows(email) {
    const waits = new Map(email.waits.map((one) => [one.queue, one]));
    const said = ({ email: whom, status, status_reason, queue }) => {
      const wait = OPEN.has(status) && waits.get(queue);
      const why =
        status === "suppressed" &&
        may("suppressions") &&
        h("a", { href: `/page/suppressions?prefix=${encodeURIComponent(whom)}` }, "Why");
      return status_reason || wait || why
        ? [status_reason && h("p", null, status_reason), wait && waiting(wait), why]
        : null;
    };
    const few = email.recipients.length <= FEW;
    const wanted = email.recipients.filter((one) => !only || one.status === only);
    if (!few) wanted.sort((one, other) => WORST.indexOf(one.status) - WORST.indexOf(other.status));
    const shown = wanted.slice(0, most);
    return [
      !few && statuses(email),
      table(
        "recipients",
        ["Recipient", "Status", "Code", "Class", "Reply", "Tries", "Changed"],
        shown.map((one) =>
          h(
            "tr",
            { "data-key": `${one.email} ${one.erased_at ?? ""}` },
            h(
              "th",
              { scope: "row" },
              one.erased_at ? erased(one) : link(one),
              one.kind !== "to" && h("span", { class: "tag" }, one.kind),
            ),
            cell("Status", [
              badge(one.status, one.late ? `${one.status}, late` : one.status),
              one.complained_at && [
                " ",
                badge("complained", "called spam"),
                " ",
                when(one.complained_at),
              ],
            ]),
            cell(
              "Code",
              one.status_code && [
                String(one.status_code),
                one.enhanced_code && ` ${one.enhanced_code}`,
              ],
              "code",
            ),
            cell("Class", one.reply_class, "code"),
            cell("Reply", said(one), "reason"),
            cell("Tries", String(one.tries), "number"),
            cell("Changed", when(one.updated_at)),
          ),
        ),
        ["Tries"],
      ),
      shown.length < wanted.length &&
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "data-key": "more",
            onclick: () => ((most += 10 * RECIPIENTS), changed()),
          },
          `Show more of ${count(wanted.length)}`,
        ),
    ];
  }

  // How many recipients there are of each status, and which of them are shown.
  function statuses(email) {
    const counts = new Map();
    for (const { status } of email.recipients) counts.set(status, (counts.get(status) ?? 0) + 1);
    const choose = (status) => () => {
      only = status;
      most = RECIPIENTS;
      changed();
    };
    return h(
      "div",
      { class: "states", role: "group", "aria-label": "Status of the recipients" },
      ["", ...WORST.filter((status) => counts.has(status))].map((status) =>
        h(
          "button",
          { type: "button", "aria-pressed": String(only === status), onclick: choose(status) },
          status ? badge(status, `${count(counts.get(status))} ${status}`) : "all",
        ),
      ),
    );
  }

  return rows;
}
