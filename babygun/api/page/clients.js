// Who may use the API: clients with their scopes; new ones, and an end to others.
import { call, get, post } from "./api.js";
import { $, h, show } from "./dom.js";
import { cell, copyable, empty, failure, shownOnce, table, when } from "./status.js";
import { ask, doing, fillIn, notify } from "./messages.js";
import { setNames } from "./names.js";

const SCOPES = {
  "emails:send": "send, cancel and retry e-mails",
  "emails:read": "read its own e-mails",
  domains: "have sending domains of its own",
  webhooks: "have webhooks of its own",
  suppressions: "see and change its own suppressions",
  "suppressions:ignore": "send to suppressed addresses",
  "workers:read": "see workers and the overview",
  admin: "everything, of everybody",
};

const USUAL = ["emails:send", "emails:read", "webhooks", "suppressions"];

export function open(root, { who }) {
  let clients = null;
  let trouble = null;
  let made = null; // a client just made, with the secret that is shown once

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
      if (
        !(await ask(
          `Delete ${client.name}?`,
          "All its tokens are refused within a second. Its e-mails stay, and go on. This " +
            "can't be undone.",
          "Delete",
          { danger: true, keep: "Keep it" },
        ))
      )
        return;
      await call("DELETE", `/clients/${encodeURIComponent(client.id)}`);
      if (made?.client_id === client.id || made?.id === client.id) made = null;
      notify(`${client.name} is deleted.`);
      await read();
    });

  const create = () =>
    fillIn("New client", {
      fields: [
        h(
          "label",
          null,
          "Name",
          h("input", { name: "name", required: true, maxlength: 200, placeholder: "web shop" }),
        ),
        h(
          "fieldset",
          null,
          h("legend", null, "It may"),
          Object.entries(SCOPES).map(([scope, does]) =>
            h(
              "label",
              { class: "check" },
              h("input", {
                type: "checkbox",
                name: "scope",
                value: scope,
                checked: USUAL.includes(scope),
              }),
              h("span", null, h("code", null, scope), h("span", { class: "soft" }, ` ${does}`)),
            ),
          ),
        ),
        h(
          "label",
          null,
          h(
            "span",
            null,
            "At most ",
            h("span", { class: "soft" }, "e-mails a second at each API process; empty: no limit"),
          ),
          h("input", { name: "rate", type: "number", min: 0.1, step: "any" }),
        ),
      ],
      action: "Create",
      async submit(form) {
        const scopes = form.getAll("scope");
        if (!scopes.length) throw new Error("Choose at least one scope.");
        const rate = form.get("rate");
        made = await post("/clients", {
          name: form.get("name").trim(),
          scopes,
          ...(rate ? { rate: Number(rate) } : {}),
        });
      },
      async done() {
        await read();
        $(".secret")?.focus();
      },
    });

  function secret() {
    const id = made.client_id ?? made.id;
    return shownOnce(
      "The new client's secret",
      `${made.name} is made`,
      [
        ["Client id", id],
        ["Secret", made.client_secret],
      ],
      () => ((made = null), draw()),
      "A token for it:",
      copyable(`curl -s -X POST -u '${id}:${made.client_secret}' ${location.origin}/tokens`, {
        block: true,
        label: "Command for a token",
      }),
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
      clients?.length > 0 &&
        table(
          "clients",
          ["Client", "Scopes", "Rate", "Made", ""],
          clients.map((one) => {
            const id = one.client_id ?? one.id;
            return h(
              "tr",
              { "data-key": id },
              h(
                "th",
                { scope: "row" },
                one.name || "(no name)",
                id === who.client_id && h("span", { class: "tag" }, "you"),
                h("br"),
                h("code", { class: "soft" }, id),
              ),
              cell(
                "Scopes",
                one.scopes.map((scope) => h("span", { class: "tag", title: SCOPES[scope] }, scope)),
              ),
              cell("Rate", one.rate ? `${one.rate}/s` : h("span", { class: "soft" }, "no limit")),
              cell("Made", when(one.created_at)),
              h(
                "td",
                { class: "end" },
                id !== who.client_id &&
                  h(
                    "button",
                    {
                      type: "button",
                      class: "quiet small",
                      "aria-label": `Delete ${one.name}`,
                      onclick: remove({ ...one, id }),
                    },
                    "Delete…",
                  ),
              ),
            );
          }),
        ),
    );
  }

  show(root, h("h1", null, "Clients"));
  read();
  return { keys: [["+", "new client", create]], close: () => {} };
}
