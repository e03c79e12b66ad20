// The sites: what waits for each and why, and what somebody with the scope admin does about it.
import { call, every, get, post } from "./api.js";
import { h, show } from "./dom.js";
import { count, duration, many } from "./format.js";
import { quoted } from "./held.js";
import { doing, field, fillIn, notify } from "./messages.js";
import { byName, withNames } from "./names.js";
import { cell, empty, failure, none, table, when } from "./status.js";
import { watchPutOff } from "./warmups.js";

const REFRESH = 5000; // ms between two readings
const SOME = 100; // sites that are shown before a person asks for the rest
const TIMES = {
  "15m": "15 minutes",
  "1h": "1 hour",
  "2h": "2 hours",
  "6h": "6 hours",
  "1d": "1 day",
  "3d": "3 days",
  "7d": "7 days",
  "31d": "31 days",
};
const BUSY = {
  limit: "All its connections are busy.",
  pace: "Its rate takes no more.",
  slot: "Other workers have its connections.",
};
const COLUMNS = ["Site", "Waiting", "Oldest", "Last minute", "Connections", "Limits", "Why"];
const WHOLE = new Set(["connections", "messages_per_connection"]);
const NUMBERS = ["Waiting", "Oldest", "Last minute", "Connections"];

const path = (site, what) => `/sites/${encodeURIComponent(site)}/${what}`;

export function open(root, { may }) {
  let sites = null;
  let trouble = null;
  let all = false;
  const steers = may("admin");

  let reads = 0;
  async function read() {
    const mine = (reads += 1);
    try {
      const found = await get("/sites");
      if (mine !== reads) return; // a later question is under way: its answer is newer
      ({ sites } = found);
      trouble = null;
    } catch (error) {
      trouble = error;
    }
    draw();
  }

  const change = (work, said) =>
    doing(async () => {
      await work();
      notify(said);
      await read();
    });

  const resume = (one, sender) =>
    change(
      () => post(path(one.site, "resume"), { sender: sender ?? "" }),
      `Mail${sender ? ` of ${sender}` : ""} to ${one.site} goes again.`,
    );

  const unlimit = (one) =>
    change(() => call("DELETE", path(one.site, "limits")), `${one.site} has its usual limits.`);

  // `one`: null where the form asks for the site.
  const hold = (one) =>
    fillIn(one ? `Hold ${one.site}` : "Hold a site", {
      text: "Its mail waits where it is, and uses up no try. What is being sent goes on.",
      fields: [
        !one && field("Site", { name: "site", required: true, placeholder: "mx:google" }),
        field("Reason", { name: "reason", required: true, maxlength: 500 }),
        lasts("1h"),
      ],
      action: "Hold",
      async submit(form) {
        const { site = one?.site, ...body } = Object.fromEntries(form);
        await post(path(site.trim(), "hold"), body);
      },
      done: read,
    });

  const limit = (one) =>
    fillIn(`Limit ${one.site}`, {
      text: "These limits hold for all workers together. What is empty stays as it is.",
      fields: [
        field("Connections at once", { name: "connections", ...whole(one.limits?.connections) }),
        field("Messages over one connection", {
          name: "messages_per_connection",
          ...whole(one.limits?.messages_per_connection),
        }),
        field("Messages in a time", {
          name: "rate",
          pattern: "[1-9][0-9]*/(s|min|h)",
          title: "For example 20/min, 5/s or 600/h",
          placeholder: one.limits?.rate ?? "20/min",
        }),
        field("Reason", { name: "reason", maxlength: 500 }),
        lasts("1d"),
      ],
      action: "Limit",
      async submit(form) {
        const given = [...form].filter(([, value]) => value);
        const body = given.map(([name, value]) => [name, WHOLE.has(name) ? Number(value) : value]);
        await post(path(one.site, "limits"), Object.fromEntries(body));
      },
      done: read,
    });

  const act = (word, what, onclick) =>
    h(
      "button",
      { type: "button", class: "quiet small", "aria-label": `${word} ${what}`, onclick },
      word,
    );

  function why(one) {
    const { hold, limited } = one;
    return [
      hold && reason(one.hold, `Held${by(hold)}`, held(hold)),
      one.held_senders.map((each) => [
        reason(each, `Mail of ${each.sender} is held${by(each)}`, held(each)),
        steers && act("Resume", `${each.sender} at ${one.site}`, resume(one, each.sender)),
      ]),
      limited &&
        reason(limited, `Limited${by(limited)}`, [" It ends ", when(limited.until, "due"), "."]),
      !hold && one.why && h("p", null, BUSY[one.why] ?? one.why),
    ];
  }

  function row(one) {
    const part = (label, ...value) => cell(label, value, NUMBERS.includes(label) ? "number" : null);
    return h(
      "tr",
      { "data-key": one.site },
      h("th", { scope: "row", class: "long" }, one.site),
      part(
        "Waiting",
        count(one.waiting),
        one.queues > 1 && h("div", { class: "soft" }, many(one.queues, "domain")),
      ),
      part("Oldest", one.oldest_seconds === null ? none() : duration(one.oldest_seconds)),
      part(
        "Last minute",
        `${count(one.sent)} sent`,
        one.deferred > 0 && h("div", { class: "soft" }, `${count(one.deferred)} deferred`),
      ),
      part("Connections", count(one.connections)),
      part(
        "Limits",
        limits(one.limits),
        one.limited && one.table && h("div", { class: "soft" }, "usually ", limits(one.table)),
      ),
      h("td", { "data-label": "Why", class: "why" }, h("div", null, filled(why(one)))),
      steers &&
        h(
          "td",
          { class: "end" },
          h(
            "div",
            { class: "acts" },
            one.hold
              ? act("Resume", one.site, resume(one))
              : act("Hold…", one.site, () => hold(one)),
            one.limited && act("Usual limits", one.site, unlimit(one)),
            // Without a table there is no limit.
            !one.limited && one.table && act("Limit…", one.site, () => limit(one)),
          ),
        ),
    );
  }

  function draw() {
    const shown = all ? sites : sites?.slice(0, SOME);
    show(
      root,
      h(
        "div",
        { class: "head" },
        h("h1", null, "Sites"),
        steers && h("button", { type: "button", onclick: () => hold(null) }, "Hold a site"),
      ),
      trouble && failure(trouble, read),
      warmUps.draw(),
      sites &&
        !sites.length &&
        empty(
          "No site has mail",
          "Here stand relays and mail hosts for which mail waits, and why.",
        ),
      shown?.length > 0 &&
        table("sites", steers ? [...COLUMNS, ""] : COLUMNS, shown.map(row), NUMBERS),
      shown?.length < sites?.length &&
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "data-key": "all",
            onclick: () => ((all = true), draw()),
          },
          `Show all ${count(sites.length)}`,
        ),
    );
  }

  show(root, h("h1", null, "Sites"), h("p", { class: "soft" }, "Reading…"));
  const warmUps = watchPutOff(() => sites && draw());
  withNames(may, () => sites && draw());
  read();
  const stop = every(REFRESH, read);
  return {
    keys: steers ? [["+", "hold a site", () => hold(null)]] : [],
    close() {
      stop();
      warmUps.close();
    },
  };
}

const by = (said) => (said.by_operator ? ` by ${byName(said.set_by)}` : "");
const filled = (parts) => (parts.flat(Infinity).some(Boolean) ? parts : none());

const held = (hold) =>
  hold.by_operator || hold.sender
    ? [" It goes again ", when(hold.until, "due"), "."]
    : [" One e-mail tries next ", when(hold.probe_at, "due"), "."];

// `word`, what was said, and then `end`.
const reason = (said, word, end) =>
  h("p", null, h("strong", null, word), ": ", quoted(said) || said.reason, ".", end);

const limits = (given) =>
  given
    ? h(
        "span",
        { title: "Connections at once × messages over each, and the rate" },
        `${count(given.connections)} × ${count(given.messages_per_connection)}, ${given.rate}`,
      )
    : none();

const whole = (now) => ({ type: "number", min: 1, max: 10_000, placeholder: now });

const lasts = (usual) =>
  h(
    "label",
    null,
    "For",
    h(
      "select",
      { name: "lasts" },
      Object.entries(TIMES).map(([value, word]) =>
        h("option", { value, selected: value === usual }, word),
      ),
    ),
  );
