// Who may use the API: clients with their scopes and limits; new ones, and an end to others.
import { call, get } from "./api.js";
import { askForChanges, askForClient, askForSecret, SCOPES } from "./clientform.js";
import { $, h, show } from "./dom.js";
import { count } from "./format.js";
import { cell, copyable, empty, failure, meter, shownOnce, table, when } from "./status.js";
import { ask, doing, notify } from "./messages.js";
import { setNames } from "./names.js";

const COLUMNS = ["Client", "Scopes", "Limits", "Recipients today", ""];

export function open(root, { who }) {
  let clients = null;
  let trouble = null;
  let made = null; // what is shown once: { id, client_secret } of a new client, or a new secret

  async function read() {
    try {
      ({ clients } = await get("/clients"));
      setNames(clients);
      trouble = null;
    } catch (error) {
      trouble = error;
    }
    draw();
  }

  const remove = (client) =>
    doing(async () => {
      const text =
        "All its tokens are refused within a second. Its e-mails stay, and go on. This can't " +
        "be undone.";
      const sure = { danger: true, keep: "Keep it" };
      if (!(await ask(`Delete ${client.name}?`, text, "Delete", sure))) return;
      await call("DELETE", `/clients/${encodeURIComponent(client.id)}`);
      if (made?.id === client.id) made = null;
      notify(`${client.name} is deleted.`);
      await read();
    });

  async function shown(found) {
    made = found;
    await read();
    $(".secret")?.focus();
  }

  const create = () => askForClient(shown);

  const change = (client) =>
    askForChanges(client, () => {
      notify(`${client.name} is changed.`);
      return read();
    });

  function secret() {
    const { id, name, client_secret: text, previous_until: until } = made;
    const named = name ?? clients?.find((one) => one.id === id)?.name ?? id;
    return shownOnce(
      name ? "The new client's secret" : "The new secret",
      name ? `${named} is made` : `${named} has a new secret`,
      [
        ["Client id", id],
        ["Secret", text],
      ],
      () => ((made = null), draw()),
      until && ["The one before works until ", when(until, "day"), "."],
      "A token for it:",
      copyable(`curl -s -X POST -u '${id}:${text}' ${location.origin}/tokens`, {
        block: true,
        label: "Command for a token",
      }),
    );
  }

  const limits = ({ rate, recipients_per_day: daily, weight }) =>
    [
      rate && h("p", { title: "E-mails a second" }, `${count(rate)}/s`),
      daily && h("p", { title: "Recipients a day" }, `${count(daily)} a day`),
      weight > 1 && h("p", null, `weight ${weight}`),
    ].filter(Boolean);

  const today = ({ recipients_today: used, recipients_per_day: daily }) => [
    h("p", null, count(used), daily && ` of ${count(daily)}`),
    daily && meter(used / daily, "Recipients today, of those of a day"),
  ];

  function row(one) {
    const act = (word, onclick) =>
      h(
        "button",
        {
          type: "button",
          class: "quiet small",
          "aria-label": `${word.replace("…", "")} ${one.name}`,
          onclick,
        },
        word,
      );
    const own = one.id === who.client_id;
    return h(
      "tr",
      { "data-key": one.id },
      h(
        "th",
        { scope: "row" },
        one.name || "(no name)",
        own && h("span", { class: "tag" }, "you"),
        h("br"),
        h("code", { class: "soft" }, one.id),
        h("p", { class: "soft" }, "made ", when(one.created_at)),
        one.previous_secret_until &&
          h(
            "p",
            { class: "soft" },
            "a secret before: until ",
            when(one.previous_secret_until, "day"),
          ),
      ),
      cell(
        "Scopes",
        one.scopes.map((scope) => h("span", { class: "tag", title: SCOPES[scope] }, scope)),
      ),
      cell("Limits", limits(one).length ? limits(one) : h("span", { class: "soft" }, "no limit")),
      cell("Recipients today", today(one)),
      h(
        "td",
        { class: "end" },
        h(
          "div",
          { class: "acts" },
          act("Change…", () => change(one)),
          act("New secret…", () => askForSecret(one, shown)),
          !own && act("Delete…", remove(one)),
        ),
      ),
    );
  }

  function draw() {
    show(
      root,
      h(
        "div",
        { class: "head" },
        h("h1", null, "Clients"),
        h("button", { type: "button", onclick: create }, "New client"),
      ),
      made && secret(),
      trouble && failure(trouble, read),
      clients &&
        !clients.length &&
        empty("No clients", "An application needs one to send e-mails."),
      clients?.length > 0 && table("clients", COLUMNS, clients.map(row)),
    );
  }

  show(root, h("h1", null, "Clients"), h("p", { class: "soft" }, "Reading…"));
  read();
  return { keys: [["+", "new client", create]], close: () => {} };
}
