// The webhooks: where events are sent to, and whether they arrive.
import { every, get, path, post } from "./api.js";
import { h, show } from "./dom.js";
import { count } from "./format.js";
import { field, fillIn } from "./messages.js";
import { client, withNames } from "./names.js";
import { Pages } from "./pages.js";
import { badge, cell, empty, failure, shownOnce, table, when } from "./status.js";

const REFRESH = 5000; // ms between two readings
const COLUMNS = ["URL", "Health", "Events", "Waiting", "Last success"];
const TYPES = {
  accepted: "stored, will be sent",
  delivered: "a server took it",
  deferred: "is tried again later",
  bounced: "refused for good",
  expired: "no more tries",
  suppressed: "not tried: the address is suppressed",
  cancelled: "stopped by a client",
  retried: "tried again by a client",
  complained: "called spam",
  unsubscribed: "wants no more",
};

// How the endpoint answers, as a badge and words.
export function health({ health: { status, failing_since: since }, disabled }) {
  if (status === "ok") return badge("complete", "ok");
  if (status === "failing") return [badge("failed", "failing"), since && [" since ", when(since)]];
  return status === "new"
    ? badge("waiting", "nothing sent yet")
    : [badge("cancelled", "disabled"), disabled && [" ", when(disabled.at)]];
}

export const kinds = ({ events, tags }) => [
  events.includes("*") ? "all" : events.join(", "),
  tags.map((tag) => h("span", { class: "tag" }, tag)),
];

// Asks what a webhook is to be; `one`: as it is now, null for a new one. `submit` gets the body.
export const askFor = (one, { action, submit, done }) =>
  fillIn(one ? "Change the webhook" : "New webhook", {
    fields: [
      field("URL", {
        name: "url",
        type: "url",
        required: true,
        value: one?.url,
        placeholder: "https://…",
      }),
      field("Description", { name: "description", maxlength: 200, value: one?.description }),
      h(
        "fieldset",
        null,
        h("legend", null, "Events ", h("span", { class: "soft" }, "none chosen: all")),
        h(
          "div",
          { class: "two" },
          Object.entries(TYPES).map(([type, means]) =>
            h(
              "label",
              { class: "check" },
              h("input", {
                type: "checkbox",
                name: "event",
                value: type,
                checked: Boolean(one?.events.includes(type)),
              }),
              h("span", null, type, h("br"), h("span", { class: "soft" }, means)),
            ),
          ),
        ),
      ),
      field(
        "Tags",
        { name: "tags", value: one?.tags.join(" "), autocapitalize: "none" },
        "of e-mails; empty: all e-mails",
      ),
    ],
    action,
    submit(form) {
      const events = form.getAll("event");
      return submit({
        url: form.get("url").trim(),
        description: form.get("description").trim(),
        events: events.length ? events : ["*"],
        tags: form
          .get("tags")
          .split(/[\s,]+/)
          .filter(Boolean),
      });
    },
    done,
  });

// The secret of a webhook that was just made, or got a new one.
export const secretOf = (made, title, close) =>
  shownOnce("The webhook's secret", title, [["Secret", made.secret]], close, [
    "Your endpoint checks the signature of each request with it: see ",
    h("code", null, "docs/webhooks.md"),
    ".",
    made.previous_until && [" The one before signs, too, ", when(made.previous_until, "due"), "."],
  ]);

export function open(root, { may }) {
  const pages = new Pages("webhooks", (page) => get(path("/webhooks", page)), draw);
  let made = null;

  const create = () =>
    askFor(null, {
      action: "Create",
      async submit(body) {
        made = await post("/webhooks", body);
      },
      async done() {
        await pages.read();
        root.querySelector(".secret")?.focus();
      },
    });

  function row(one) {
    return h(
      "tr",
      { "data-key": one.id },
      h(
        "th",
        { scope: "row" },
        h("a", { href: `/page/webhooks/${one.id}` }, one.url),
        one.description && h("div", { class: "soft" }, one.description),
        may("admin") && h("div", { class: "soft" }, "of ", client(one.client_id)),
      ),
      cell("Health", health(one)),
      cell("Events", kinds(one)),
      cell("Waiting", count(one.health.waiting), "number"),
      cell("Last success", when(one.health.last_success_at)),
    );
  }

  function draw() {
    const { rows, cursor, trouble } = pages;
    show(
      root,
      h(
        "div",
        { class: "head" },
        h("h1", null, "Webhooks"),
        h("button", { type: "button", onclick: create }, "New webhook"),
      ),
      made && secretOf(made, "The webhook is made", () => ((made = null), draw())),
      trouble && failure(trouble, () => pages.read()),
      rows &&
        !rows.length &&
        empty(
          "No webhooks",
          "A webhook is a URL of yours. Babygun sends there what happens to your e-mails.",
        ),
      rows?.length > 0 && table("", COLUMNS, rows.map(row), ["Waiting"]),
      cursor &&
        h(
          "button",
          { type: "button", class: "quiet", onclick: () => pages.read(true) },
          "Show more",
        ),
    );
  }

  show(root, h("h1", null, "Webhooks"), h("p", { class: "soft" }, "Reading…"));
  pages.read();
  withNames(may, draw);
  const stop = every(REFRESH, () => !(pages.rows?.length > 100) && pages.read());
  return { keys: [["+", "new webhook", create]], close: stop };
}
