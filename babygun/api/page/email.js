// One e-mail, as it happens.
import { every, get, post } from "./api.js";
import { content, inEtcd } from "./content.js";
import { held, waiting } from "./held.js";
import { h, show } from "./dom.js";
import { bytes, count, many, now } from "./format.js";
import { lastList, neighbours, stay } from "./emails.js";
import { askAgain } from "./bulk.js";
import { follow } from "./live.js";
import { logList } from "./log.js";
import { client, withNames } from "./names.js";
import {
  address,
  badge,
  cell,
  copy,
  copyable,
  emptyView,
  facts,
  failure,
  replyWords,
  stateOf,
  table,
  when,
} from "./status.js";
import { go } from "./router.js";
import { ask, doing, notify } from "./messages.js";
import { timeline } from "./timeline.js";

const AGAIN = 5000; // ms between two readings while others decide when it goes on
const OPEN = new Set(["pending", "deferred"]); // recipients that are not final
const RECIPIENTS = 50; // shown before a person asks for more
const FEW = 10; // recipients that need no filter and no order
// The worst first.
const WORST = "bounced expired deferred pending suppressed cancelled delivered".split(" ");

export function open(root, { id, may, title }) {
  const url = `/emails/${encodeURIComponent(id)}`;
  let email = null;
  let log = [];
  let reading = null;
  let again = false;
  let most = RECIPIENTS;
  let only = ""; // the status of the recipients that are shown
  let gone = false;
  // Stays the same node, so that updates don't touch it.
  const body = h("div", { "data-still": "1", "data-key": "content" });
  let filled = null;

  // Reads both again. While that is under way, one further reading is enough whatever happens.
  async function read() {
    if (reading) return void (again = true);
    reading = Promise.all([get(url), get(`${url}/log`)]);
    try {
      const [found, entries] = await reading;
      take(found);
      // A log only grows; one that is shorter was read before what is shown.
      if (entries.entries.length >= log.length) log = entries.entries;
      draw();
    } catch (error) {
      if (error.status === 404 && email) gone = true;
      else if (!email)
        return show(
          root,
          back(),
          error.status === 404
            ? emptyView(
                "There is no such e-mail",
                error.message,
                h("a", { class: "button", href: lastList() }, "Back to the list"),
              )
            : failure(error, read, "h1"),
        );
      draw();
    } finally {
      reading = null;
      if (again) {
        again = false;
        read();
      }
    }
  }

  // A state of a lower revision is older than what is shown.
  function take(found) {
    if (!(found.revision < email?.revision)) email = found;
  }

  const back = () => h("p", { class: "back" }, h("a", { href: lastList() }, "← E-mails"));

  function draw() {
    const state = stateOf(email);
    const key = String(email.content_expired);
    if (filled !== key) {
      filled = key;
      body.replaceChildren(content(email));
    }
    title(email.subject || "(no subject)");
    show(
      root,
      back(),
      h(
        "div",
        { class: "head" },
        h("h1", { class: "subject", title: email.subject }, email.subject || "(no subject)"),
        h("div", { class: "row" }, actions()),
      ),
      gone &&
        h(
          "p",
          { class: "wrong", role: "alert" },
          "This e-mail is not kept any more: this is how it was last.",
        ),
      h(
        "div",
        { class: "standing", role: "status" },
        badge(state),
        h("span", null, standing(state)),
      ),
      known(),
      h("h2", null, "Timeline"),
      timeline(email, log),
      h("h2", null, many(email.recipients.length, "recipient")),
      recipients(),
      h("h2", null, "Log"),
      logList(log),
      h("h2", null, "Content"),
      body,
      h("h2", null, "In etcd"),
      inEtcd(email.id),
    );
  }

  function standing(state) {
    if (state === "sending")
      return `now, by ${email.sending.join(", ")} (worker ${email.worker_id})`;
    if (state === "complete") {
      const all = email.recipients.length;
      const left = email.recipients.filter((one) => one.status === "suppressed").length;
      const who = all === 1 ? "The recipient has" : `All ${count(all)} recipients have`;
      return `${left ? `${count(all - left)} of ${count(all)} recipients have` : who} got it, after ${many(email.tries, "try", "tries")}${left ? `; ${count(left)} suppressed` : ""}`;
    }
    if (state !== "waiting") return email.status_reason ?? "";
    if (email.held?.length) return held(email.held);
    const line = email.waits.find((one) => one.why === "limited");
    if (line) return waiting(line);
    if (!email.not_before || Date.parse(email.not_before) <= now()) return "for a worker";
    return [
      email.tries ? `Try ${email.tries + 1} in ` : "Sent for the first time in ",
      when(email.not_before, "countdown"),
      email.status_reason && `. ${email.status_reason}`,
    ];
  }

  const act = (what) =>
    doing(async () => {
      if (
        what === "cancel" &&
        !(await ask(
          "Cancel this e-mail?",
          "Recipients that have not got it never will. What is being sent at this moment goes on.",
          "Cancel it",
          { danger: true },
        ))
      )
        return;
      const refused = email.recipients.filter(({ status }) => status === "bounced");
      if (
        what === "retry" &&
        refused.length &&
        !(await askAgain(refused.map((one) => replyWords(one) || "refused"), "recipient"))
      )
        return;
      take(await post(`${url}/${what}`));
      draw();
      notify(
        what === "cancel"
          ? email.status === "cancelled"
            ? "Cancelled."
            : "Cancelled, but for what is being sent now."
          : what === "retry"
            ? "It is tried again."
            : "It is tried now.",
      );
      await read();
    });

  function actions() {
    const ended = ["failed", "cancelled"].includes(email.status);
    return [
      may("emails:send") &&
        ended &&
        !email.content_expired &&
        h("button", { type: "button", "data-key": "retry", onclick: act("retry") }, "Retry"),
      may("emails:send") &&
        stateOf(email) === "waiting" &&
        email.not_before &&
        Date.parse(email.not_before) > now() &&
        h("button", { type: "button", "data-key": "now", onclick: act("send-now") }, "Try now"),
      may("emails:send") &&
        email.status === "incomplete" &&
        h(
          "button",
          { type: "button", class: "quiet", "data-key": "cancel", onclick: act("cancel") },
          "Cancel",
        ),
      may("emails:send") &&
        !email.content_expired &&
        h(
          "a",
          { class: "button quiet", "data-key": "again", href: `/page/compose?from=${email.id}` },
          "Edit as new",
        ),
    ];
  }

  function known() {
    return facts([
      ["Id", copyable(email.id)],
      ["From", email.sender],
      email.reply_to?.length && ["Reply to", email.reply_to.join(", ")],
      [
        "Accepted",
        [when(email.created_at), h("span", { class: "soft" }, ", by "), client(email.client_id)],
      ],
      ["Changed", when(email.updated_at)],
      ["Size", bytes(email.size)],
      email.tags.length && [
        "Tags",
        email.tags.map((tag) =>
          h("a", { class: "tag", href: `/page/emails?tag=${encodeURIComponent(tag)}` }, tag),
        ),
      ],
      Object.keys(email.metadata).length && [
        "Metadata",
        h("code", null, JSON.stringify(email.metadata)),
      ],
    ]);
  }

  function recipients() {
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
      !few && statuses(),
      table(
        "recipients",
        ["Recipient", "Status", "Code", "Class", "Reply", "Tries", "Changed"],
        shown.map((one) =>
          h(
            "tr",
            { "data-key": one.email },
            h(
              "th",
              { scope: "row" },
              h(
                "a",
                {
                  href: `/page/emails?recipient=${encodeURIComponent(one.email)}`,
                  title: "All e-mails to this recipient",
                },
                address(one.email),
              ),
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
            onclick: () => ((most += 10 * RECIPIENTS), draw()),
          },
          `Show more of ${count(wanted.length)}`,
        ),
    ];
  }

  // How many recipients there are of each status, and which of them are shown.
  function statuses() {
    const counts = new Map();
    for (const { status } of email.recipients) counts.set(status, (counts.get(status) ?? 0) + 1);
    const choose = (status) => () => {
      only = status;
      most = RECIPIENTS;
      draw();
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

  const stream = follow(
    { id },
    {
      email: read,
      gone: () => ((gone = true), email && draw()),
      reset() {
        if (email) email.revision = 0; // revisions may have begun again
        read();
      },
      opened: read,
      poll: read,
    },
  );
  const ticking = setInterval(
    () => email?.status === "incomplete" && !document.hidden && draw(),
    1000,
  );
  // A hold or a limit may end, or begin, without a change of the e-mail.
  const stop = every(AGAIN, () => email?.waits.length && read());
  stay(id);
  show(root, back(), h("p", { class: "soft" }, "Reading…"));
  read();
  withNames(may, () => email && draw());

  const step = (to, why) => (to ? go(`/page/emails/${to}`) : notify(why));
  return {
    keys: [
      [
        "j",
        "older e-mail of the list",
        () => step(neighbours(id).older, "That was the last one of the list."),
      ],
      [
        "k",
        "newer e-mail of the list",
        () => step(neighbours(id).newer, "That was the first one of the list."),
      ],
      ["u", "back to the list", () => go(lastList())],
      ["y", "copy its id", () => copy(id)],
    ],
    close() {
      clearInterval(ticking);
      stop();
      stream.close();
    },
  };
}
