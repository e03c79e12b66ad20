// One e-mail, as it happens.
import { every, get, post } from "./api.js";
import { askForChange } from "./change.js";
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
  badge,
  copy,
  copyable,
  emptyView,
  facts,
  failure,
  replyWords,
  stateOf,
  when,
} from "./status.js";
import { recipientTable } from "./recipients.js";
import { go } from "./router.js";
import { ask, doing, notify } from "./messages.js";
import { timeline } from "./timeline.js";

const AGAIN = 5000; // ms between two readings while others decide when it goes on

export function open(root, { id, may, title }) {
  const url = `/emails/${encodeURIComponent(id)}`;
  let email = null;
  let log = [];
  let reading = null;
  let again = false;
  const recipients = recipientTable(may, () => draw());
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
      recipients(email),
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
      return (
        `${left ? `${count(all - left)} of ${count(all)} recipients have` : who} got it, after ` +
        `${many(email.tries, "try", "tries")}${left ? `; ${count(left)} suppressed` : ""}`
      );
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
        !(await askAgain(
          refused.map((one) => replyWords(one) || "refused"),
          "recipient",
        ))
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

  const change = () =>
    askForChange(email, async (found) => {
      take(found);
      draw();
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
          { type: "button", class: "quiet", "data-key": "change", onclick: change },
          "Change…",
        ),
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
