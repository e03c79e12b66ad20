// One sending domain: the records for its DNS, what DNS has of them, its keys and its clients.
import { call, every, get, post } from "./api.js";
import { alarmList, concerns } from "./alarms.js";
import { clientChoice, domainBadge, lacking } from "./domains.js";
import { h, show } from "./dom.js";
import { many } from "./format.js";
import { ask, doing, fillIn, notify } from "./messages.js";
import { client, withNames } from "./names.js";
import { go } from "./router.js";
import { badge, cell, copyable, emptyView, facts, failure, table, when } from "./status.js";

const REFRESH = 10_000; // ms between two readings
const RECORD = {
  verified: "complete",
  missing: "failed",
  wrong: "failed",
  unchecked: "waiting",
  unknown: "waiting",
  optional: "cancelled",
};
const KEY = { new: "waiting", signing: "complete", old: "cancelled" };
const PURPOSES = {
  spf: "SPF: who may send",
  dmarc: "DMARC: what receivers do with forgeries",
  return_path: "Return path: where bounces come back",
  return_path_spf: "SPF of the return path",
  tls_rpt: "Reports about TLS",
  mta_sts: "MTA-STS: encrypted mail to you",
};

const purposeOf = ({ purpose }) =>
  purpose.startsWith("dkim:")
    ? `DKIM: the key ${purpose.slice(5)}`
    : (PURPOSES[purpose] ?? purpose);

// A record as a line of a zone file. A string of it has 255 bytes at most.
function zoneLine({ name, type, value }) {
  if (type !== "TXT") return `${name}. ${type} ${value}.`;
  const parts = value.replace(/["\\]/g, "\\$&").match(/.{1,250}/g) ?? [""];
  return `${name}. TXT ${parts.map((part) => `"${part}"`).join(" ")}`;
}

export function open(root, { id, may, title }) {
  const url = `/domains/${encodeURIComponent(id)}`;
  let domain = null;
  let trouble = null;
  let gone = false;
  let reads = 0;

  async function read() {
    const mine = (reads += 1);
    try {
      const found = await get(url);
      if (mine === reads) take(found);
    } catch (error) {
      trouble = error;
      draw();
    }
  }

  function take(found) {
    reads += 1; // what was asked before is older
    domain = found;
    trouble = null;
    title(domain.name);
    draw();
  }

  const steps = {
    "Check now": doing(async () => {
      take(await post(`${url}/verify`));
      const wrong = lacking(domain).length;
      notify(wrong ? `${many(wrong, "record")} missing or wrong.` : `It is ${domain.status}.`);
    }),
    "New keys…": doing(async () => {
      const text =
        "A new key signs once DNS has its record. Until then the one before signs. Leave the " +
        "record of that one in DNS as long as it stands here.";
      if (!(await ask("Make new keys?", text, "Make them"))) return;
      take(await post(`${url}/rotate`));
      notify("Put the new key's record into DNS, and check.");
    }),
    "Clients…": () =>
      fillIn(`Who sends from ${domain.name}?`, {
        text: "These clients and no others. Several of them share it.",
        fields: clientChoice(domain.clients, "at least one"),
        action: "Change",
        async submit(form) {
          take(await call("PUT", `${url}/clients`, { body: { clients: form.getAll("clients") } }));
        },
        done: () => notify("Its clients are changed."),
      }),
    "Delete…": doing(async () => {
      const text =
        "Its keys can't be had back. Mail that waits is sent without a signature. This can't " +
        "be undone.";
      const sure = await ask(`Delete ${domain.name}?`, text, "Delete", {
        danger: true,
        keep: "Keep it",
      });
      if (!sure) return;
      gone = true;
      await call("DELETE", url).finally(() => (gone = false));
      notify(`${domain.name} is deleted.`);
      go("/page/domains");
    }),
  };

  const record = (one) =>
    h(
      "li",
      { "data-key": one.purpose },
      h(
        "div",
        { class: "head" },
        h("h3", null, purposeOf(one)),
        badge(RECORD[one.status], one.status),
        concerns(domain.alarms, one.purpose) && badge("failed", "see the complaint"),
      ),
      one.sentence &&
        h(
          "p",
          { class: RECORD[one.status] === "failed" ? "wrong" : "soft" },
          `${one.sentence[0].toUpperCase()}${one.sentence.slice(1)}`,
        ),
      facts([
        [`Name (${one.type})`, copyable(one.name, { label: `Name of ${purposeOf(one)}` })],
        ["Value", copyable(one.value, { label: `Value of ${purposeOf(one)}` })],
        one.found.length > 0 &&
          one.status !== "verified" && [
            "DNS has",
            one.found.map((found) => h("code", { class: "found" }, found)),
          ],
      ]),
    );

  const keys = () =>
    table(
      "",
      ["Key", "Algorithm", "State", "Seen in DNS", "Made"],
      domain.selectors.map((one) =>
        h(
          "tr",
          { "data-key": one.name },
          h("th", { scope: "row" }, h("code", null, one.name)),
          cell("Algorithm", one.algorithm),
          cell("State", [
            badge(KEY[one.state], one.state),
            one.old_since && [" since ", when(one.old_since)],
          ]),
          cell("Seen in DNS", when(one.seen_at)),
          cell("Made", when(one.created_at)),
        ),
      ),
    );

  const back = () => h("p", { class: "back" }, h("a", { href: "/page/domains" }, "← Domains"));

  function standing() {
    const wrong = lacking(domain);
    if (wrong.length) return `${many(wrong.length, "record")} missing or wrong`;
    return domain.status === "verified"
      ? "DNS has all that is needed"
      : "Put the records below into your DNS, and check";
  }

  function draw() {
    if (!domain)
      return show(
        root,
        back(),
        trouble?.status === 404
          ? emptyView("There is no such domain", trouble.message)
          : trouble && failure(trouble, read, "h1"),
      );
    show(
      root,
      back(),
      h(
        "div",
        { class: "head" },
        h("h1", null, domain.name),
        h(
          "div",
          { class: "row" },
          Object.entries(steps)
            .filter(([name]) => name !== "Clients…" || may("admin"))
            .map(([name, onclick], at) =>
              h(
                "button",
                { type: "button", class: at ? "quiet" : null, "data-key": name, onclick },
                name,
              ),
            ),
        ),
      ),
      trouble && failure(trouble, read),
      h(
        "div",
        { class: "standing", role: "status" },
        domainBadge(domain),
        h("span", null, standing()),
        domain.checked_at && h("span", { class: "soft" }, "looked up ", when(domain.checked_at)),
      ),
      domain.alarms.length > 0 && [
        h("h2", { "data-key": "complaints" }, "Mail servers complain"),
        alarmList(domain.alarms),
      ],
      facts([
        ["Bounces come to", h("code", null, domain.return_path)],
        domain.clients && [
          "Clients",
          domain.clients.map((one, at) => [at > 0 && ", ", client(one)]),
        ],
        ["Made", when(domain.created_at)],
      ]),
      h("h2", null, "Records for DNS"),
      h("ul", { class: "records" }, domain.records.map(record)),
      h(
        "details",
        { "data-key": "zone" },
        h("summary", null, "As lines of a zone file"),
        copyable(domain.records.map(zoneLine).join("\n"), { block: true, label: "Zone file" }),
      ),
      h("h2", null, "Keys"),
      keys(),
    );
  }

  show(root, back(), h("p", { class: "soft" }, "Reading…"));
  read();
  withNames(may, () => domain && draw());
  const stop = every(REFRESH, () => !gone && read());
  return {
    keys: [
      ["u", "back to the list", () => go("/page/domains")],
      ["c", "check now", (event) => domain && steps["Check now"](event)],
    ],
    close: stop,
  };
}
