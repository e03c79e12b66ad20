// One e-mail, as it happens.
import { get, post } from "./api.js";
import { content, inEtcd } from "./content.js";
import { held, waiting } from "./held.js";
import { h, show } from "./dom.js";
import { bytes, count, many, now } from "./format.js";
import { lastList, neighbours } from "./emails.js";
import { follow } from "./live.js";
import { logList } from "./log.js";
import { copyable, copy, empty, failure, badge, stateOf, when } from "./status.js";
import { go } from "./router.js";
import { ask, doing, notify } from "./messages.js";
import { timeline } from "./timeline.js";

const AGAIN = 5000; // ms between two readings while others decide when it goes on
const OPEN = new Set(["pending", "deferred"]); // recipients that are not final
const RECIPIENTS = 50; // shown before a person asks for the rest

export function open(root, { id, may, title }) {
  const url = `/emails/${encodeURIComponent(id)}`;
  let email = null;
  let log = [];
  let reading = null;
  let again = false;
  let everyone = false;
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
      email = found;
      log = entries.entries;
      draw();
    } catch (error) {
      if (error.status === 404 && email) gone = true;
      else if (!email)
        return show(
          root,
          back(),
          error.status === 404
            ? empty(
                "There is no such e-mail",
                error.message,
                h("a", { class: "button", href: lastList() }, "Back to the list"),
              )
            : failure(error, read),
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
      facts(),
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
    if (state === "complete")
      return `${email.recipients.length === 1 ? "The recipient has" : `All ${count(email.recipients.length)} recipients have`} got it, after ${many(email.tries, "try", "tries")}`;
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
      email = await post(`${url}/${what}`);
      draw();
      notify(
        what === "cancel"
          ? email.status === "cancelled"
            ? "Cancelled."
            : "Cancelled, but for what is being sent now."
          : "It is tried again.",
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

  function facts() {
    const given = [
      ["Id", copyable(email.id)],
      ["From", email.sender],
      email.reply_to?.length && ["Reply to", email.reply_to.join(", ")],
      [
        "Accepted",
        [when(email.created_at), h("span", { class: "soft" }, `, by ${email.client_id}`)],
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
    ];
    return h(
      "dl",
      { class: "facts" },
      given
        .filter(Boolean)
        .map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
    );
  }

  function recipients() {
    const waits = new Map(email.waits.map((one) => [one.queue, one]));
    const said = ({ status, status_reason, queue }) => {
      const wait = OPEN.has(status) && waits.get(queue);
      return status_reason || wait
        ? [status_reason && h("p", null, status_reason), wait && waiting(wait)]
        : null;
    };
    const shown = everyone ? email.recipients : email.recipients.slice(0, RECIPIENTS);
    const cell = (label, value, kind) =>
      h(
        "td",
        { "data-label": label, class: kind },
        h("div", null, value ?? h("span", { class: "none" }, "–")),
      );
    return [
      h(
        "table",
        { class: "stack recipients" },
        h(
          "thead",
          null,
          h(
            "tr",
            null,
            ["Recipient", "Status", "Code", "Class", "Reply", "Tries", "Changed"].map((name) =>
              h("th", { scope: "col", class: name === "Tries" ? "number" : null }, name),
            ),
          ),
        ),
        h(
          "tbody",
          null,
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
                  one.email,
                ),
                one.kind !== "to" && h("span", { class: "tag" }, one.kind),
              ),
              cell("Status", badge(one.status)),
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
        ),
      ),
      shown.length < email.recipients.length &&
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "data-key": "everyone",
            onclick: () => ((everyone = true), draw()),
          },
          `Show all ${count(email.recipients.length)}`,
        ),
    ];
  }

  const stream = follow(
    { id },
    {
      email: read,
      gone: () => ((gone = true), email && draw()),
      reset: read,
      opened: read,
      poll: read,
    },
  );
  const ticking = setInterval(
    () => email?.status === "incomplete" && !document.hidden && draw(),
    1000,
  );
  // A hold or a limit may end, or begin, without a change of the e-mail.
  const asking = setInterval(() => email?.waits.length && !document.hidden && read(), AGAIN);
  show(root, back());
  read();

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
      clearInterval(asking);
      stream.close();
    },
  };
}
