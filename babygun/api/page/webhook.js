// One webhook: how its endpoint answers, what was sent to it, and what is done about it.
import { call, every, get, path, post } from "./api.js";
import { h, show } from "./dom.js";
import { instant, local } from "./fields.js";
import { count, many } from "./format.js";
import { ask, doing, field, fillIn, notify } from "./messages.js";
import { client, withNames } from "./names.js";
import { go, rename } from "./router.js";
import { badge, cell, copyable, emptyView, facts, failure, table, when } from "./status.js";
import { askFor, health, kinds, secretOf } from "./webhooks.js";

const REFRESH = 3000; // ms between two readings
const PAGE = 50;
const STATES = { waiting: "waiting", sent: "complete", failed: "failed" };
const AGAIN = { waiting: "Try now", sent: "Send again", failed: "Retry" };
const COLUMNS = ["Event", "State", "Tries", "Answer", "When", ""];

export function open(root, { id, query, title, may }) {
  const url = `/webhooks/${encodeURIComponent(id)}`;
  let state = query.state in STATES ? query.state : "";
  let webhook = null;
  let events = new Map(); // by id, the newest first
  let cursor = null;
  let trouble = null;
  let made = null; // a new secret
  let reads = 0;

  const page = (next) => get(path(`${url}/deliveries`, { limit: PAGE, state, cursor: next }));

  async function read() {
    const mine = (reads += 1);
    try {
      const [found, newest] = await Promise.all([get(url), page(null)]);
      if (mine !== reads) return; // a later question is under way: its answer is newer
      webhook = found;
      const fresh = new Map(newest.deliveries.map((one) => [one.event_id, one]));
      const last = newest.deliveries.at(-1)?.event_id;
      const older = [...events].filter(([key]) => !fresh.has(key) && key < last);
      if (!older.length) ({ cursor } = newest);
      events = new Map([...fresh, ...older]);
      trouble = null;
      title(webhook.url);
    } catch (error) {
      trouble = error;
    }
    draw();
  }

  const more = doing(async () => {
    const older = await page(cursor);
    for (const one of older.deliveries) events.set(one.event_id, one);
    ({ cursor } = older);
    draw();
  });

  const change = (work, said) =>
    doing(async () => {
      if ((await work()) === false) return;
      notify(said);
      await read();
    });

  const steps = {
    Test: change(() => post(`${url}/test`), "A test event is on its way."),
    Enable: change(() => call("PATCH", url, { body: { enabled: true } }), "It is enabled."),
    Disable: change(
      () => call("PATCH", url, { body: { enabled: false } }),
      "It is disabled: nothing is sent, and what waits is kept for a time.",
    ),
    "Change…": () =>
      askFor(webhook, {
        action: "Change",
        submit: (body) => call("PATCH", url, { body }),
        done: read,
      }),
    "New secret…": doing(async () => {
      const text =
        "Both secrets sign for 24 hours. Give your endpoint the new one within that time.";
      if (!(await ask("Make a new secret?", text, "Make it"))) return;
      made = await post(`${url}/secret`);
      draw();
      root.querySelector(".secret")?.focus();
    }),
    "Send again…": () => sendAgain(),
    "Delete…": doing(async () => {
      const text = "What still waits for it is never sent. This can't be undone.";
      if (!(await ask("Delete this webhook?", text, "Delete", { danger: true, keep: "Keep it" })))
        return;
      await call("DELETE", url);
      notify("The webhook is deleted.");
      go("/page/webhooks");
    }),
  };

  const again = (one) =>
    change(() => post(`${url}/replay`, { event_ids: [one.event_id] }), "The event is sent again.");

  // All that happened in a span of time.
  const sendAgain = () => {
    const start = webhook.health.failing_since ?? new Date(Date.now() - 3_600_000);
    let sent = 0;
    const time = (label, name, value) => field(label, { type: "datetime-local", name, value });
    fillIn("Send events again", {
      text:
        "Each keeps its id, so your endpoint can know it. Those that are not kept any more " +
        "can't be sent.",
      fields: [
        h(
          "div",
          { class: "two" },
          time("From", "since", local(start)),
          time("Until (empty: now)", "until", ""),
        ),
      ],
      action: "Send again",
      async submit(form) {
        const span = {
          since: instant(form.get("since")) ?? new Date(0).toISOString(),
          until: instant(form.get("until")),
        };
        let next = null;
        do {
          const found = await post(`${url}/replay`, next ? { ...span, cursor: next } : span);
          sent += found.replayed;
          next = found.cursor;
          if (next) notify(`${many(sent, "event")} so far…`);
        } while (next);
      },
      async done() {
        notify(`${many(sent, "event")} ${sent === 1 ? "is" : "are"} sent again.`);
        await read();
      },
    });
  };

  function known() {
    const { health: at } = webhook;
    return facts([
      ["Id", copyable(id)],
      ["Events", kinds(webhook)],
      webhook.description && ["Description", webhook.description],
      ["Waiting", many(at.waiting, "event")],
      ["Last success", when(at.last_success_at) ?? "never"],
      [
        "Made",
        [
          when(webhook.created_at),
          h("span", { class: "soft" }, ", by "),
          client(webhook.client_id),
        ],
      ],
    ]);
  }

  function row(one) {
    const said = [one.status_code, one.error ?? one.answer].filter(Boolean).join(" ");
    return h(
      "tr",
      { "data-key": one.event_id },
      h(
        "th",
        { scope: "row" },
        one.email_id
          ? h("a", { href: `/page/emails/${one.email_id}`, title: "The e-mail" }, one.type)
          : one.type,
        h("br"),
        h("code", { class: "soft" }, one.event_id),
      ),
      cell("State", badge(STATES[one.state], one.state)),
      cell("Tries", count(one.tries)),
      cell("Answer", said && h("q", { class: "long" }, said)),
      cell("When", [
        when(one.last_try_at ?? one.created_at),
        one.state === "waiting" && one.next_try_at && [", next ", when(one.next_try_at, "due")],
      ]),
      h(
        "td",
        { class: "end" },
        h(
          "button",
          {
            type: "button",
            class: "quiet small",
            "aria-label": `${AGAIN[one.state]}: ${one.type} ${one.event_id}`,
            onclick: again(one),
          },
          AGAIN[one.state],
        ),
      ),
    );
  }

  const filter = (wanted) => {
    state = wanted;
    events = new Map();
    rename(path(`/page/webhooks/${id}`, { state }));
    draw();
    read();
  };

  function deliveries() {
    return [
      h("h2", null, "Events"),
      h(
        "div",
        { class: "states", role: "group", "aria-label": "State" },
        ["", ...Object.keys(STATES)].map((one) =>
          h(
            "button",
            { type: "button", "aria-pressed": String(one === state), onclick: () => filter(one) },
            one ? badge(STATES[one], one) : "all",
          ),
        ),
      ),
      events.size
        ? table("deliveries", COLUMNS, [...events.values()].map(row))
        : h("p", { class: "soft" }, state ? "None in this state." : "Nothing was sent yet."),
      cursor && h("button", { type: "button", class: "quiet", onclick: more }, "Show older ones"),
    ];
  }

  const back = () => h("p", { class: "back" }, h("a", { href: "/page/webhooks" }, "← Webhooks"));

  function draw() {
    if (!webhook)
      return show(
        root,
        back(),
        trouble?.status === 404
          ? emptyView("There is no such webhook", trouble.message)
          : trouble && failure(trouble, read, "h1"),
      );
    const hidden = webhook.enabled ? "Enable" : "Disable";
    show(
      root,
      back(),
      h(
        "div",
        { class: "head" },
        h("h1", null, webhook.url),
        h(
          "div",
          { class: "row" },
          Object.entries(steps)
            .filter(([name]) => name !== hidden && (webhook.enabled || name !== "Test"))
            .map(([name, onclick]) =>
              h("button", { type: "button", class: "quiet", "data-key": name, onclick }, name),
            ),
        ),
      ),
      trouble && failure(trouble, read),
      made && secretOf(made, "The new secret", () => ((made = null), draw())),
      h(
        "div",
        { class: "standing", role: "status" },
        h("span", null, health(webhook)),
        h("span", { class: "long" }, webhook.disabled?.reason ?? webhook.health.last_error ?? ""),
      ),
      known(),
      deliveries(),
    );
  }

  show(root, back(), h("p", { class: "soft" }, "Reading…"));
  read();
  withNames(may, () => webhook && draw());
  const stop = every(REFRESH, read);
  return { keys: [["u", "back to the list", () => go("/page/webhooks")]], close: stop };
}
