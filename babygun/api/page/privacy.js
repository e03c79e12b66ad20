// What is kept of one person, by the address: counted, exported, erased. The address stands neither
// in the page's own address nor anywhere else that stays.
import { call, path } from "./api.js";
import { h, show } from "./dom.js";
import { count } from "./format.js";
import { doing, field, fillIn, notify } from "./messages.js";
import { facts } from "./status.js";

const COUNTS = {
  deleted: "E-mails for nobody else",
  erased: "E-mails to others, too",
  notices: "Events for webhooks",
  suppressions: "Lists that the address is on",
  under_way: "Being sent, or not looked at in time",
};

export function open(root) {
  let person = null; // { address, found, erasing, running, cursor, trouble }
  let closed = false;

  // Calls until everything was read; what is found is added up.
  async function run(one, query) {
    Object.assign(one, { running: true, trouble: null });
    draw();
    try {
      do {
        const url = `/recipients/${encodeURIComponent(one.address)}`;
        const found = await call("DELETE", path(url, { ...query, cursor: one.cursor }));
        for (const name of Object.keys(COUNTS)) one.found[name] += found[name];
        one.cursor = found.cursor;
        draw();
      } while (one.cursor && one === person && !closed);
    } catch (error) {
      one.trouble = error;
    } finally {
      one.running = false;
      draw();
    }
  }

  const begin = (address, query) => {
    const found = Object.fromEntries(Object.keys(COUNTS).map((name) => [name, 0]));
    person = { address, found, query, cursor: null };
    return run(person, query);
  };

  const erasing = () => person?.running && !person.query.dry_run;

  const lookUp = doing((event) => {
    if (erasing()) throw new Error("Another person's data are being erased: wait for the end.");
    return begin(new FormData(event.target).get("address").trim(), { dry_run: true });
  });

  const erase = () => {
    const { address } = person;
    fillIn(`Erase all of ${address}?`, {
      text:
        "E-mails for nobody else are deleted, also those that wait. Of e-mails to several, the " +
        "others keep theirs. This can't be undone. Backups keep what they have.",
      fields: [
        h(
          "label",
          null,
          "Lists that the address is on",
          h(
            "select",
            { name: "suppressions" },
            h("option", { value: "hash" }, "keep a hash: no mail goes there"),
            h("option", { value: "delete" }, "delete: mail may go there again"),
          ),
        ),
        field("The address again", { name: "again", required: true, autocapitalize: "none" }),
      ],
      action: "Erase",
      async submit(form) {
        if (form.get("again").trim().toLowerCase() !== address.toLowerCase())
          throw new Error("That is another address.");
        begin(address, { suppressions: form.get("suppressions") });
      },
      done: () => {},
    });
  };

  function standing({ query, running, cursor, trouble, found }) {
    if (running) return query.dry_run ? "Counting…" : "Erasing…";
    if (trouble || cursor) return "It is not complete.";
    if (query.dry_run)
      return Object.values(found).some(Boolean) ? "This is kept:" : "Nothing is kept.";
    return found.under_way ? "Not all is erased." : "All of it is erased.";
  }

  function report() {
    const { address, query, running, cursor, trouble, found } = person;
    const button = (word, kind, onclick) =>
      h("button", { type: "button", class: kind, "data-key": word, onclick }, word);
    const rest = !running && (trouble || cursor);
    return h(
      "section",
      { "data-key": "report" },
      h("h2", { class: "long" }, address),
      h("p", { role: "status" }, standing(person)),
      trouble && h("p", { class: "wrong", role: "alert" }, trouble.message),
      facts(Object.entries(COUNTS).map(([name, words]) => [words, count(found[name])])),
      h(
        "p",
        { class: "row" },
        rest && button("Go on", null, () => run(person, query)),
        !running &&
          found.under_way > 0 &&
          !query.dry_run &&
          button("Erase the rest", null, () => begin(address, query)),
        !running &&
          query.dry_run && [
            h(
              "a",
              {
                class: "button quiet",
                href: `/recipients/${encodeURIComponent(address)}/export`,
                download: "",
              },
              "Export",
            ),
            button("Erase…", "danger", erase),
          ],
      ),
    );
  }

  const form = h(
    "form",
    { class: "row person", onsubmit: lookUp },
    h("input", {
      name: "address",
      required: true,
      "aria-label": "Address",
      placeholder: "ann@example.org",
      autocapitalize: "none",
      autocomplete: "off",
      spellcheck: "false",
    }),
    h("button", null, "Look up"),
  );
  const body = h("div");
  const draw = () => !closed && show(body, person && report());
  show(
    root,
    h("h1", null, "Privacy"),
    h("p", { class: "soft" }, "What is kept of a person, of all clients: export it, or erase it."),
    form,
    body,
  );
  form.address.focus();
  return {
    keys: [],
    close() {
      if (erasing()) notify("The erasure has stopped. Begin it again to end it.");
      closed = true;
    },
  };
}
