// What waits, and until when: the next tries and what is to be sent later.
import { every, get, path, post } from "./api.js";
import { askForChange } from "./change.js";
import { $, h, show } from "./dom.js";
import { count, duration } from "./format.js";
import { ask, doing, notify } from "./messages.js";
import { nameOf, withNames } from "./names.js";
import { empty, failure, badge, replyWords, when } from "./status.js";
import { go } from "./router.js";
import { Rows } from "./rows.js";

const PAGE = 100;
const REFRESH = 5000; // ms between two readings of the first page
const KEPT_TRUE = 500; // rows up to which all of them are read again; beyond that only when asked

const CANCEL = [
  "Cancel this e-mail?",
  "Recipients that have not got it never will. What is being sent at this moment goes on.",
  "Cancel it",
];

// Why a job waits, in few words: the server's own where it has said something.
const why = ({ why: kind, reply, explanation }) =>
  kind === "scheduled"
    ? "for later, as it was asked for"
    : (kind === "retry" && replyWords(reply)) || explanation;

export function open(root, { may }) {
  let jobs = [];
  let cursor = null;
  let busy = false;
  let done = false;
  let trouble = null;
  let current = -1;
  const acts = may("emails:send");
  const list = h("ol", { class: acts ? "rows schedule acts" : "rows schedule" });
  const head = h("div", { class: "listhead" });
  const foot = h("div", { class: "listfoot" });
  show(root, h("h1", null, "Schedule"), head, list, foot);
  const rows = new Rows(list, { row, nearEnd: () => jobs.length && !trouble && more() });

  function row(index) {
    const job = jobs[index];
    const subject = job.subject || "(no subject)";
    const act = (word, what, work) =>
      h(
        "button",
        {
          type: "button",
          class: "quiet small",
          "aria-label": `${word}: ${subject}, to ${job.to}`,
          onclick: doing(() => work(job, what)),
        },
        word,
      );
    return h(
      "li",
      { "data-key": `${job.id} ${job.queue}`, class: index === current ? "current" : null },
      job.overdue_seconds > 5
        ? badge("late", `${duration(job.overdue_seconds)} late`)
        : badge("waiting", job.tries ? `try ${job.tries + 1}` : "scheduled"),
      h(
        "a",
        { href: `/page/emails/${job.id}`, onfocus: () => (current = index) },
        h(
          "span",
          { class: "to" },
          job.to,
          job.recipients > 1 && h("span", { class: "soft" }, ` +${count(job.recipients - 1)}`),
          h("span", { class: "tag" }, job.queue),
          may("admin") && h("span", { class: "tag" }, nameOf(job.client_id)),
        ),
        h(
          "span",
          { class: "subject", title: job.wait.explanation },
          h("span", { class: "words" }, subject),
          h("span", { class: "reason waiting" }, why(job.wait)),
        ),
      ),
      when(job.due, job.overdue_seconds > 0 ? "ago" : "due"),
      acts &&
        h(
          "span",
          { class: "do" },
          act("Try now", "send-now", change),
          act("Change…", "change", change),
          act("Cancel…", "cancel", change),
        ),
    );
  }

  async function change(job, what) {
    const again = () => read(Math.max(PAGE, jobs.length));
    if (what === "change") return askForChange(await get(`/emails/${job.id}`), again);
    if (what === "cancel" && !(await ask(...CANCEL, { danger: true }))) return;
    await post(`/emails/${job.id}/${what}`);
    notify(what === "cancel" ? "It is cancelled." : "It is tried now.");
    await again();
  }

  async function pages(count) {
    const found = [];
    let next = null;
    do {
      const page = await get(path("/schedule", { limit: PAGE, cursor: next }));
      found.push(...page.jobs);
      next = page.cursor;
    } while (next && found.length < count);
    return { found, next };
  }

  async function read(wanted) {
    if (busy) return;
    busy = true;
    try {
      const { found, next } = await pages(wanted);
      jobs = found;
      cursor = next;
      done = !next;
      trouble = null;
    } catch (error) {
      trouble = error;
    } finally {
      busy = false;
      draw();
    }
  }

  async function more() {
    if (busy || done) return;
    busy = true;
    try {
      const page = await get(path("/schedule", { limit: PAGE, cursor }));
      const known = new Set(jobs.map((job) => `${job.id} ${job.queue}`));
      jobs.push(...page.jobs.filter((job) => !known.has(`${job.id} ${job.queue}`)));
      cursor = page.cursor;
      done = !cursor;
    } catch (error) {
      trouble = error;
    } finally {
      busy = false;
      draw();
    }
  }

  function draw() {
    show(
      head,
      h(
        "span",
        { class: "soft" },
        jobs.length ? `${count(jobs.length)}${done ? "" : " or more"} waiting, soonest first` : "",
      ),
      jobs.length > KEPT_TRUE &&
        h(
          "button",
          { type: "button", class: "quiet small", onclick: () => read(PAGE) },
          "Read again",
        ),
    );
    show(
      foot,
      trouble
        ? failure(trouble, () => read(PAGE))
        : !jobs.length &&
            done &&
            empty(
              "Nothing waits",
              "Here stand e-mails whose next try is to come, and those that are to be sent later.",
              h("a", { class: "button quiet", href: "/page/emails" }, "See all e-mails"),
            ),
    );
    rows.set(jobs.length);
  }

  function move(by) {
    if (!jobs.length) return;
    current = Math.max(0, Math.min(jobs.length - 1, current + by));
    rows.reveal(current);
    $("li.current a", list)?.focus({ preventScroll: true });
  }

  const stop = every(REFRESH, () => jobs.length <= KEPT_TRUE && read(Math.max(PAGE, jobs.length)));
  read(PAGE);
  withNames(may, draw);
  return {
    keys: [
      ["j", "next one", () => move(1)],
      ["k", "one before", () => move(-1)],
      ["u", "go to the e-mails", () => go("/page/emails")],
    ],
    close() {
      stop();
      rows.close();
    },
  };
}
