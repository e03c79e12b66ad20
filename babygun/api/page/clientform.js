// The forms for a client: a new one, changes, another secret.
import { call, post } from "./api.js";
import { h } from "./dom.js";
import { field, fillIn } from "./messages.js";

export const SCOPES = {
  "emails:send": "send, cancel and retry e-mails",
  "emails:read": "read its own e-mails",
  domains: "have sending domains of its own",
  webhooks: "have webhooks of its own",
  suppressions: "see and change its own suppressions",
  "suppressions:ignore": "send to suppressed addresses",
  "workers:read": "see workers and the overview",
  admin: "everything, of everybody",
};

const USUAL = {
  name: "",
  scopes: ["emails:send", "emails:read", "webhooks", "suppressions"],
  rate: null,
  recipients_per_day: null,
  weight: 1,
};

const HOUR = 3600;
// How long the secret before works beside a new one.
const BESIDE = [
  [24 * HOUR, "for 24 hours"],
  [HOUR, "for an hour"],
  [7 * 24 * HOUR, "for 7 days"],
  [0, "no longer, nor does one before"],
];

const fields = ({ name, scopes, rate, recipients_per_day: daily, weight }) => [
  field("Name", { name: "name", required: true, maxlength: 200, value: name }),
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
          checked: scopes.includes(scope),
        }),
        h("span", null, h("code", null, scope), h("span", { class: "soft" }, ` ${does}`)),
      ),
    ),
  ),
  h(
    "div",
    { class: "two" },
    field(
      "E-mails a second",
      { name: "rate", type: "number", min: 0.1, step: "any", value: rate ?? "" },
      "empty: no limit",
    ),
    field(
      "Recipients a day",
      { name: "recipients_per_day", type: "number", min: 1, value: daily ?? "" },
      "empty: no limit",
    ),
  ),
  field(
    "Weight",
    { name: "weight", type: "number", min: 1, required: true, value: weight },
    "its turns in a row, where mail of several clients waits",
  ),
];

// What a form says of a client.
function typed(form) {
  const scopes = form.getAll("scope");
  if (!scopes.length) throw new Error("Choose at least one scope.");
  const limit = (name) => (form.get(name) ? Number(form.get(name)) : null);
  return {
    name: form.get("name").trim(),
    scopes,
    rate: limit("rate"),
    recipients_per_day: limit("recipients_per_day"),
    weight: Number(form.get("weight")),
  };
}

// `made(client)` gets the new one, with its secret.
export function askForClient(made) {
  let found = null;
  fillIn("New client", {
    fields: fields(USUAL),
    action: "Create",
    async submit(form) {
      const wanted = Object.entries(typed(form)).filter(([, value]) => value !== null);
      found = await post("/clients", Object.fromEntries(wanted));
    },
    done: () => made(found),
  });
}

// Sends what is not as it was.
export const askForChanges = (client, done) =>
  fillIn(`Change ${client.name}`, {
    text:
      "A scope that you take away is gone from its tokens within a second. A scope that you " +
      "give needs a new token.",
    fields: fields(client),
    action: "Change",
    async submit(form) {
      const changes = Object.entries(typed(form)).filter(
        ([name, value]) =>
          JSON.stringify([value].flat().sort()) !== JSON.stringify([client[name]].flat().sort()),
      );
      if (!changes.length) throw new Error("Nothing is changed yet.");
      await call("PATCH", `/clients/${encodeURIComponent(client.id)}`, {
        body: Object.fromEntries(changes),
      });
    },
    done,
  });

// `made(secret)` gets { id, client_secret, previous_until }.
export function askForSecret(client, made) {
  let found = null;
  fillIn(`New secret for ${client.name}`, {
    text:
      "Give it to the application while both secrets work. No mail is lost by that. " +
      "Secrets before the present one work until their own end.",
    fields: [
      h(
        "label",
        null,
        "The present secret works",
        h(
          "select",
          { name: "previous_for" },
          BESIDE.map(([seconds, words]) => h("option", { value: seconds }, words)),
        ),
      ),
      h(
        "label",
        { class: "check" },
        h("input", { type: "checkbox", name: "end_tokens" }),
        h("span", null, "Its tokens end at once: somebody else may know the secret"),
      ),
    ],
    action: "Make it",
    async submit(form) {
      found = await post(`/clients/${encodeURIComponent(client.id)}/secret`, {
        previous_for: Number(form.get("previous_for")),
        end_tokens: form.has("end_tokens"),
      });
    },
    done: () => made(found),
  });
}
